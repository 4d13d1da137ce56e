import LibPQ
import TestSupport
import Testing

@Suite("Streams")
struct StreamTests {
    private struct Enough: Error {}

    @Test("rows come one by one, with a state carried along")
    func rowByRow() async throws {
        let connection = try await Connection.open()

        let sum = try await connection.stream(
            Statement("SELECT n FROM generate_series(1, $1::int) n", [.int(100_000)]), deadline: .soon, into: 0
        ) { sum, row in sum += row.int(0) ?? 0 }

        #expect(sum == 5_000_050_000)
        #expect(try await connection.value("SELECT 1") == "1")
        await connection.close()
    }

    @Test("an error after some rows is thrown")
    func errorAfterRows() async throws {
        let connection = try await Connection.open()

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.stream(
                Statement("SELECT 1 / (5000 - n) FROM generate_series(1, 10000) n"), deadline: .soon
            ) { _ in }
        }

        #expect(error?.sqlstate == "22012")
        #expect(try await connection.value("SELECT 1") == "1")
        await connection.close()
    }

    @Test("what the reader throws ends the stream and closes the connection")
    func readerThrows() async throws {
        let connection = try await Connection.open()

        await #expect(throws: Enough.self) {
            try await connection.stream(Statement("SELECT generate_series(1, 100000000)"), deadline: .soon) { row in
                if row.int(0) == 10 { throw Enough() }
            }
        }

        #expect(!connection.isUsable)
    }

    @Test("cancelling the task ends the stream")
    func cancelled() async throws {
        let connection = try await Connection.open()
        let (rows, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let task = Task {
            try await connection.stream(Statement("SELECT generate_series(1, 100000000)"), deadline: .soon) { _ in
                continuation.yield()
            }
        }
        for await _ in rows { break }

        task.cancel()

        await #expect(throws: DatabaseError.cancelled) { try await task.value }
    }
}
