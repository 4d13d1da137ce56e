import ArgumentParser
import SystemPackage

/// Standard output for more than can be held in memory.
enum StandardOutput {
    /// - Throws: when nobody reads any more, the exit code alone.
    static func write(_ bytes: [UInt8]) throws {
        do {
            try FileDescriptor.standardOutput.writeAll(bytes)
        } catch {
            if error as? Errno != .brokenPipe { StandardError.print("Standard output can't be written: \(error)") }
            throw ExitCode.failure
        }
    }
}

/// For what isn't the answer of a command.
enum StandardError {
    static func print(_ line: String) {
        write("\(line)\n")
    }

    /// Goes on without an error when nobody reads any more.
    static func write(_ text: String) {
        _ = try? FileDescriptor.standardError.writeAll(text.utf8)
    }
}
