import ArgumentParser
import SystemPackage

/// Standard output for text that is too large to hold in memory.
enum StandardOutput {
    /// - Throws: an exit code without a message if the reader has closed the pipe.
    static func write(_ bytes: [UInt8]) throws {
        do {
            try FileDescriptor.standardOutput.writeAll(bytes)
        } catch {
            if error as? Errno != .brokenPipe { StandardError.print("Standard output can't be written: \(error)") }
            throw ExitCode.failure
        }
    }
}

/// Standard error, for everything but the result of a command.
enum StandardError {
    static func print(_ line: String) {
        write("\(line.visibleLines)\n")
    }

    /// Ignores errors: the reader may have closed the pipe.
    static func write(_ text: String) {
        _ = try? FileDescriptor.standardError.writeAll(text.utf8)
    }
}
