import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A process that the tests started. Its output goes into files, so that it never waits for a reader.
///
/// It ends with the process of the tests, however that ends.
public final class ChildProcess: Sendable {
    let id: pid_t
    public var processID: Int32 { id }
    private let exit = Once<Int32>()
    private let directory: URL

    /// - Parameters:
    ///   - arguments: the program with its whole path, and what it is told.
    ///   - environment: all of it; nothing is inherited.
    ///   - input: a descriptor to read from, nothing when nil.
    public init(_ arguments: [String], environment: [String: String], input: Int32? = nil) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("child-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        id = try Self.spawn(arguments, environment, input: input, directory: directory.path)
        let isWatched = input == nil
        if isWatched { OrphanReaper.shared.watch(id) }
        Thread.detachNewThread { [id, exit] in
            // Until it is reaped nothing else gets its number, which the orphan reaper must not kill later.
            var information = siginfo_t()
            while waitid(P_PID, id_t(id), &information, WEXITED | WNOWAIT) < 0, errno == EINTR {}
            if isWatched { OrphanReaper.shared.forget(id) }
            var status: Int32 = 0
            while waitpid(id, &status, 0) < 0, errno == EINTR {}
            // As a shell has it: 128 + signal.
            let signal = status & 0x7F
            exit.set(signal == 0 ? status >> 8 & 0xFF : 128 + signal)
        }
    }

    deinit {
        send(signal: SIGKILL)
        try? FileManager.default.removeItem(at: directory)
    }

    private static func spawn(
        _ arguments: [String], _ environment: [String: String], input: Int32?, directory: String
    ) throws -> pid_t {
        #if canImport(Glibc)
            var actions = SpawnActions()
            var attributes = posix_spawnattr_t()
        #else
            var actions: SpawnActions
            var attributes: posix_spawnattr_t?
        #endif
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        for (descriptor, name) in [(Int32(1), "output"), (2, "errors")] {
            posix_spawn_file_actions_addopen(
                &actions, descriptor, "\(directory)/\(name)", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        }
        closeInherited(&actions)

        // libpq has us ignore broken pipes, and an ignored signal stays ignored in a child.
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETPGROUP)
        posix_spawnattr_setflags(&attributes, Int16(flags))

        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup("\($0)=\($1)") } + [nil]
        defer { for string in argv + envp { free(string) } }
        var process = pid_t()
        let code = posix_spawn(&process, arguments[0], &actions, &attributes, argv, envp)
        guard code == 0 else { throw POSIXError(POSIXErrorCode(rawValue: code) ?? .EIO) }
        return process
    }

    public var isRunning: Bool { exit.current == nil }

    /// What the process left; 128 + n after signal n.
    var exitStatus: Int32 {
        get async { await exit.value }
    }

    /// The status, or nil when it still runs after the limit.
    public func exitStatus(within limit: Duration) async -> Int32? {
        try? await eventually("the process ended", within: limit) { !isRunning }
        return exit.current
    }

    public func send(signal: Int32) {
        if isRunning { kill(id, signal) }
    }

    public var output: String { text("output") }
    public var errors: String { text("errors") }

    private func text(_ name: String) -> String {
        let data = try? Data(contentsOf: directory.appendingPathComponent(name))
        return String(decoding: data ?? Data(), as: UTF8.self)
    }
}

#if canImport(Glibc)
    typealias SpawnActions = posix_spawn_file_actions_t
#else
    typealias SpawnActions = posix_spawn_file_actions_t?
#endif

/// Has a child close every descriptor but the first three: a server that inherits a socket that listens keeps its port, and
/// one that inherits a pipe keeps its reader from coming to the end.
func closeInherited(_ actions: inout SpawnActions) {
    let open = (try? FileManager.default.contentsOfDirectory(atPath: "/dev/fd")) ?? []
    // Whether they are open or not, and some more: others may open some meanwhile, and get the lowest numbers.
    let highest = max(1024, open.compactMap { Int32($0) }.max() ?? 0) + 256
    for descriptor in 3..<highest { posix_spawn_file_actions_addclose(&actions, descriptor) }
}
