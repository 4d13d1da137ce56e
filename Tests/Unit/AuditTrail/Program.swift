import Foundation
import Synchronization

/// A program that a test runs to its end.
struct Program {
    var status: Int32
    var output: String
    var errors: String

    /// - Parameters:
    ///   - arguments: the program, looked up in `PATH`, and what it is told.
    ///   - input: the file that it reads.
    static func run(_ arguments: [String], input: String = "/dev/null") async throws -> Program {
        let place = try TemporaryDirectory()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardInput = FileHandle(forReadingAtPath: input)
        process.standardOutput = try place.create("output")
        process.standardError = try place.create("errors")
        let ended = AsyncStream<Int32> { continuation in
            process.terminationHandler = { process in
                continuation.yield(process.terminationStatus)
                continuation.finish()
            }
        }
        try process.run()
        let status = await ended.first { _ in true } ?? -1
        return Program(status: status, output: try place.read("output"), errors: try place.read("errors"))
    }

    /// - Returns: the output of a program that has to succeed.
    static func succeed(_ arguments: [String], input: String = "/dev/null") async throws -> String {
        let ended = try await run(arguments, input: input)
        guard ended.status == 0 else { throw Failed(arguments: arguments, ended: ended) }
        return ended.output
    }

    struct Failed: Error {
        let arguments: [String]
        let ended: Program
    }
}

/// A directory that is gone with the value.
final class TemporaryDirectory: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("trail-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: url)
    }

    func path(_ name: String) -> String {
        url.appendingPathComponent(name).path
    }

    func create(_ name: String) throws -> FileHandle {
        try write(name, "")
        return try FileHandle(forWritingTo: url.appendingPathComponent(name))
    }

    func read(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: url.appendingPathComponent(name)), as: UTF8.self)
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        try Data(text.utf8).write(to: url.appendingPathComponent(name))
        return path(name)
    }
}
