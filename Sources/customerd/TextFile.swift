import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A file that a command can't use: bad usage.
struct FileError: Error, CustomStringConvertible {
    let path: String
    /// The end of a sentence that begins with the path.
    let problem: String

    var description: String { "\(path) \(problem)." }
}

/// Files that commands read and write.
enum TextFile {
    /// Nothing that is read at once is longer.
    private static let limit = 64 << 20

    static func read(_ path: String) throws(FileError) -> String {
        let handle = try reading(path)
        defer { try? handle.close() }
        guard let data = try? handle.read(upToCount: limit) ?? Data() else {
            throw FileError(path: path, problem: "can't be read")
        }
        guard data.count < limit, let text = String(data: data, encoding: .utf8) else {
            throw FileError(path: path, problem: "isn't a text")
        }
        return text
    }

    /// Hands over the lines of a file one by one, without their line feeds; `-` is standard input.
    static func lines(_ path: String, _ body: (ArraySlice<UInt8>) -> Void) throws(FileError) {
        let handle = path == "-" ? .standardInput : try reading(path)
        var rest: [UInt8] = []
        while true {
            let chunk: Data?
            do {
                chunk = try handle.read(upToCount: 1 << 16)
            } catch {
                throw FileError(path: path, problem: "can't be read: \(error.localizedDescription)")
            }
            guard let chunk, !chunk.isEmpty else { break }
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

    private static func reading(_ path: String) throws(FileError) -> FileHandle {
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw FileError(path: path, problem: "can't be read: \(String(cString: strerror(errno)))")
        }
        return handle
    }

    /// Replaces a file whole, or leaves it as it was.
    static func write(_ text: String, to path: String) throws(FileError) {
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw FileError(path: path, problem: "can't be written: \(error.localizedDescription)")
        }
    }

    /// Makes a file that only its owner can read, where there is none.
    static func create(_ text: String, at path: String) throws(FileError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw FileError(path: path, problem: "can't be made: \(String(cString: strerror(errno)))")
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            try handle.write(contentsOf: Data(text.utf8))
            try handle.synchronize()
        } catch {
            throw FileError(path: path, problem: "can't be written: \(error.localizedDescription)")
        }
    }
}
