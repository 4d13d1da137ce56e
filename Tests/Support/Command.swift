import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A program to run.
///
/// Not Foundation's `Process`: that waits for whatever inherits one of its descriptors, so it would wait for the server
/// that `pg_ctl start` leaves behind.
struct Command: Sendable, CustomStringConvertible {
    struct Failure: Error, CustomStringConvertible {
        var command: Command
        var output: String

        var description: String { "\(command): \(output)" }
    }

    var arguments: [String]

    /// - Parameter arguments: the program with its whole path, and what it is told.
    init(_ arguments: [String]) {
        self.arguments = arguments
    }

    var description: String { arguments.joined(separator: " ") }

    /// Runs the program in the root directory to its end. Blocks.
    ///
    /// - Returns: what it wrote, errors included.
    @discardableResult
    func run() throws -> String {
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("out-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: output) }
        let process = try spawn(output: output.path)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let text = (try? String(contentsOf: output, encoding: .utf8)) ?? ""
        guard status == 0 else { throw Failure(command: self, output: text) }
        return text
    }

    /// Runs the program without blocking a cooperative thread.
    @discardableResult
    func runAside() async throws -> String {
        try await aside { try run() }
    }

    /// Starts the program and leaves it to itself.
    @discardableResult
    func spawn(output: String = "/dev/null") throws -> pid_t {
        #if canImport(Glibc)
            var actions = posix_spawn_file_actions_t()
        #else
            var actions: posix_spawn_file_actions_t?
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        closeInherited(&actions)
        // The server's user may not be able to enter the directory that the tests run in.
        let arguments = ["/bin/sh", "-c", #"cd / && exec "$@""#, "sh"] + arguments
        let strings = arguments.map { strdup($0) } + [nil]
        defer { for string in strings { free(string) } }
        var process = pid_t()
        let code = posix_spawn(&process, arguments[0], &actions, nil, strings, environ)
        guard code == 0 else { throw Failure(command: self, output: String(cString: strerror(code))) }
        return process
    }
}
