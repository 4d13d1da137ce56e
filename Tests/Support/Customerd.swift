public import Foundation

/// The built `customerd`, which lies beside the test bundle.
public enum Customerd {
    public static let path: String = {
        let hints: [String?] = [
            try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
            CommandLine.arguments.first,
            Bundle.main.bundlePath,
            Bundle.main.executablePath,
        ]
        let candidates = hints.compactMap { $0 }.flatMap { hint in
            let place = URL(fileURLWithPath: hint)
            return [place, place.deletingLastPathComponent()].map { $0.appendingPathComponent("customerd").path }
        }
        let given = ProcessInfo.processInfo.environment["CUSTOMERD_BIN"]
        let all = [given].compactMap { $0 } + candidates
        guard let path = all.first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
            fatalError("no customerd beside the tests; looked for \(all)")
        }
        return path
    }()

    /// The binary that the tests run.
    public static var binary: URL { URL(fileURLWithPath: path).resolvingSymlinksInPath() }

    /// What a command left behind.
    public struct Ended: Sendable {
        public var status: Int32
        public var output: String
        public var errors: String
    }

    public struct CommandFailed: Error, CustomStringConvertible {
        public var command: String
        public var ended: Ended

        public var description: String { "\(command) ended with \(ended.status): \(ended.errors)\(ended.output)" }
    }

    /// Runs a command to its end. A process that takes longer than the limit is killed, and ends with 137.
    ///
    /// - Parameter environment: in addition to the bare necessities.
    public static func run(
        _ arguments: [String], _ environment: [String: String] = [:], within limit: Duration = .seconds(60)
    ) async throws -> Ended {
        let child = try ChildProcess([path] + arguments, environment: self.environment(environment))
        if await child.exitStatus(within: limit) == nil { child.send(signal: SIGKILL) }
        return Ended(status: await child.exitStatus, output: child.output, errors: child.errors)
    }

    /// Runs a command that has to succeed.
    ///
    /// - Returns: its standard output.
    @discardableResult
    public static func succeed(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> String {
        let ended = try await run(arguments, environment)
        guard ended.status == 0 else {
            throw CommandFailed(command: arguments.joined(separator: " "), ended: ended)
        }
        return ended.output
    }

    /// Nothing of the caller's environment gets through, except what programs need to run.
    public static func environment(_ settings: [String: String]) -> [String: String] {
        let inherited = ProcessInfo.processInfo.environment.filter { name, _ in
            ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "TSAN_OPTIONS"].contains(name)
        }
        return inherited.merging(settings) { $1 }
    }
}
