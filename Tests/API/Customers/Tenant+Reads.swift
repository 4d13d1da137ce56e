import Foundation
import TestSupport

extension Tenant {
    /// Asks with query parameters, which are encoded here.
    func get(_ path: String, _ query: [(name: String, value: String)] = []) async throws -> HTTPAnswer {
        let unreserved = CharacterSet(
            charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
        let pairs = query.map { name, value in
            "\(name)=\(value.addingPercentEncoding(withAllowedCharacters: unreserved) ?? value)"
        }
        let suffix = pairs.isEmpty ? "" : "?" + pairs.joined(separator: "&")
        return try await send(HTTPCall("GET", path + suffix, headers: key.headers))
    }

    /// The same app with a new key.
    func withKey(role: String, name: String = "tests") async throws -> Tenant {
        with(try await database.createKey(app: app, role: role, name: name))
    }
}

extension HTTPAnswer {
    /// The body, which has to be a JSON object.
    var object: [String: Any] {
        get throws {
            let value = try JSONSerialization.jsonObject(with: Data(body.utf8))
            guard let object = value as? [String: Any] else { throw NeverHappened("an object came: \(self)") }
            return object
        }
    }

    /// The objects in the member `data`.
    var data: [[String: Any]] {
        get throws {
            guard let data = try object["data"] as? [[String: Any]] else { throw NeverHappened("data came: \(self)") }
            return data
        }
    }

    /// One member of each object in `data`.
    func column(_ name: String) throws -> [String?] {
        try data.map { ($0[name] as? String) ?? ($0[name] as? NSNumber)?.stringValue }
    }

    var total: Int? {
        get throws { try object["total"] as? Int }
    }

    var message: String? {
        get throws { try object["message"] as? String }
    }
}
