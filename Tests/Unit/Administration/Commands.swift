import Foundation
import TestSupport

extension TestDatabase {
    /// Runs a command of customerd to its end, as superuser unless told otherwise.
    func run(
        _ arguments: [String], as user: String = "postgres", _ settings: [String: String] = [:]
    ) async throws -> Customerd.Ended {
        try await Customerd.run(arguments, ["DATABASE_URL": url(user: user)].merging(settings) { $1 })
    }

    /// Runs a command that has to succeed, and reads its JSON.
    func json<Value: Decodable>(_ arguments: [String], as type: Value.Type = Value.self) async throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data(try await customerd(arguments + ["--json"]).utf8))
    }
}

extension Customerd.Ended {
    func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(output.utf8))
    }

    /// The members of a JSON object, in the order in which they stand there.
    var memberNames: [String] {
        output.matches(of: /[{,]"([a-z_]+)":/).map { String($0.1) }
    }
}
