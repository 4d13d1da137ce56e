import SystemPackage

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A file that a command can't use; counts as bad usage.
struct FileError: Error, CustomStringConvertible {
    let path: String
    /// The end of a sentence that begins with the path.
    let problem: String

    var description: String { "\(path) \(problem)." }
}

/// Files that commands read and write.
enum TextFile {
    /// The size in bytes that ``read(_:)`` refuses.
    private static let limit = 64 << 20

    static func read(_ path: String) throws(FileError) -> String {
        var bytes: [UInt8] = []
        try chunks(of: path) { chunk throws(FileError) in
            bytes += chunk
            if bytes.count >= limit { throw FileError(path: path, problem: "isn't a UTF-8 text file") }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw FileError(path: path, problem: "isn't a UTF-8 text file")
        }
        return text
    }

    /// Hands over the lines of a file one by one, without their line feeds; `-` is standard input.
    static func lines(_ path: String, _ body: (ArraySlice<UInt8>) -> Void) throws(FileError) {
        var rest: [UInt8] = []
        try chunks(of: path) { chunk in
            rest += chunk
            var start = 0
            while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
                body(rest[start..<end])
                start = end + 1
            }
            rest.removeFirst(start)
        }
        if !rest.isEmpty { body(rest[...]) }
    }

    private static func chunks(
        of path: String, _ body: (ArraySlice<UInt8>) throws(FileError) -> Void
    ) throws(FileError) {
        let file = path == "-" ? .standardInput : try opened(path, .readOnly)
        defer { if path != "-" { try? file.close() } }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try doing("read", path) { try buffer.withUnsafeMutableBytes { try file.read(into: $0) } }
            guard count > 0 else { return }
            try body(buffer[..<count])
        }
    }

    /// Replaces a file atomically.
    static func write(_ text: String, to path: String) throws(FileError) {
        try doing("written", path) { try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic) }
    }

    /// Creates a file that only its owner can read; fails if there is one.
    static func create(_ text: String, at path: String) throws(FileError) {
        let file = try opened(path, .writeOnly, [.create, .exclusiveCreate], "created")
        defer { try? file.close() }
        try doing("written", path) {
            try file.writeAll(text.utf8)
            if fsync(file.rawValue) != 0 { throw Errno(rawValue: errno) }
        }
    }

    private static func opened(
        _ path: String, _ mode: FileDescriptor.AccessMode, _ options: FileDescriptor.OpenOptions = [],
        _ verb: String = "read"
    ) throws(FileError) -> FileDescriptor {
        try doing(verb, path) {
            try FileDescriptor.open(
                FilePath(path), mode, options: options.union(.closeOnExec), permissions: .ownerReadWrite)
        }
    }

    /// - Parameter verb: what can't be done to the file if it fails, as a participle.
    private static func doing<Value>(
        _ verb: String, _ path: String, _ body: () throws -> Value
    ) throws(FileError) -> Value {
        do {
            return try body()
        } catch {
            let posix = (error as? CocoaError)?.underlying as? POSIXError
            let reason = posix.map { Errno(rawValue: $0.code.rawValue) } ?? error
            throw FileError(path: path, problem: "can't be \(verb): \(reason)")
        }
    }
}
