import ArgumentParser
import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Standard output for more than can be held in memory.
enum StandardOutput {
    /// - Throws: when nobody reads any more, the exit code alone.
    static func write(_ bytes: [UInt8]) throws {
        do {
            try FileHandle.standardOutput.write(contentsOf: Data(bytes))
        } catch {
            if errno != EPIPE { StandardError.print("Standard output can't be written: \(error.localizedDescription)") }
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
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
