import Foundation
import TestSupport

/// A program of `clients/`.
enum ExampleClient: String, CaseIterable, Sendable {
    case curl
    case python
    case typescript
    case swift

    private static let folder = projectFile("clients")

    /// How to run it; nil where its language isn't there.
    private var command: [String]? {
        get async throws {
            switch self {
            case .curl: ["/bin/sh", "\(Self.folder)/curl/delete-customer.sh"]
            case .python: ["/usr/bin/env", "python3", "\(Self.folder)/python/delete_customer.py"]
            case .typescript: try await Self.typeScript.value
            case .swift:
                [URL(fileURLWithPath: Customerd.path).deletingLastPathComponent().path + "/delete-customer"]
            }
        }
    }

    /// Compiled by `tsc` where there is one, else read by Node itself where it can.
    private static let typeScript = Task { () async throws -> [String]? in
        let built = FileManager.default.temporaryDirectory.appendingPathComponent("client-\(UUID().uuidString)").path
        let compilation = try await run(["tsc", "--project", "\(folder)/typescript", "--outDir", built])
        if compilation.status == 0 { return ["/usr/bin/env", "node", "\(built)/delete-customer.mjs"] }
        guard compilation.status == 127 else { throw NeverHappened("tsc took the client: \(compilation.output)") }
        let source = "\(folder)/typescript/delete-customer.mts"
        guard try await run(["node", source]).status == 2 else {
            print("SKIPPED: neither tsc nor a Node that reads TypeScript is there (apt-get install node-typescript)")
            return nil
        }
        return ["/usr/bin/env", "node", source]
    }

    private static func run(_ arguments: [String]) async throws -> (status: Int32, output: String) {
        let child = try ChildProcess(["/usr/bin/env"] + arguments, environment: Customerd.environment([:]))
        let status = await child.exitStatus(within: .seconds(120)) ?? -1
        return (status, child.output + child.errors)
    }

    /// Starts it.
    ///
    /// - Returns: nil where its language isn't there.
    func start(
        _ customer: String, key: Tenant.Key, port: Int, seconds: Int = 60, idempotencyKey: String = newID()
    ) async throws -> ChildProcess? {
        guard let command = try await command else { return nil }
        return try ChildProcess(
            command + [customer, String(seconds), idempotencyKey],
            environment: Customerd.environment([
                "CUSTOMERD_URL": "http://127.0.0.1:\(port)", "CUSTOMERD_CLIENT_KEY": key.clientKey,
                "CUSTOMERD_CLIENT_SECRET": key.secret,
            ])
        )
    }
}

extension ChildProcess {
    /// Returns when it has said something on its standard error.
    func waitToSay(_ text: String) async throws {
        try await eventually("the client said \(text)", within: .seconds(60)) {
            guard isRunning || errors.contains(text) else { throw NeverHappened("it ended: \(output)\(errors)") }
            return errors.contains(text)
        }
    }

    /// How often it waited before another try.
    var retries: Int {
        errors.components(separatedBy: "trying again in").count - 1
    }
}
