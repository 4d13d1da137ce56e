import Foundation
import Testing

@testable import LibPQ

@Suite("Values")
struct ValueTests {
    @Test(
        "a value comes back as it was sent",
        arguments: [
            ("numeric(18,2)", "9999999999999999.99"),
            ("numeric", "-0.000000000000000000000000000001"),
            ("timestamptz", "2024-02-29 23:59:59.999999+00"),
            ("uuid", "00112233-4455-6677-8899-aabbccddeeff"),
            ("jsonb", #"{"a": [1, null, "ä\n"], "n": 12345678901234567890.123}"#),
            ("text", ""),
            ("text", "👩‍👩‍👧 'quoted' \"twice\" \\x00 $1"),
            ("bigint", "-9223372036854775808"),
            ("boolean", "t"),
        ]
    )
    func roundTrip(type: String, value: String) async throws {
        let connection = try await Connection.open()
        #expect(try await connection.value("SELECT $1::\(type)", [.text(value)]) == value)

        await connection.close()
    }

    @Test("NULL and the empty string are different")
    func nullIsNotEmpty() async throws {
        let connection = try await Connection.open()

        let result = try await connection.query(
            Statement("SELECT $1::text AS none, $2::text AS empty, $1::text IS NULL AS is_null", [nil, ""]),
            deadline: .soon
        )

        #expect(result.columns == ["none", "empty", "is_null"])
        #expect(result.rows[0]["none"] == nil)
        #expect(result.rows[0]["empty"] == "")
        #expect(result.rows[0].bool("is_null") == true)
        await connection.close()
    }

    @Test("bytes pass with zeros among them, in either output format", arguments: ["hex", "escape"])
    func bytes(format: String) async throws {
        let connection = try await Connection.open()
        let bytes = Array(UInt8.min...UInt8.max)
        try await connection.run("SET bytea_output = '\(format)'")

        let result = try await connection.query(
            Statement("SELECT $1::bytea AS bytes, length($1)", [.bytes(bytes)]), deadline: .soon
        )

        #expect(result.rows[0].bytes("bytes") == bytes)
        #expect(result.rows[0].int(1) == 256)
        await connection.close()
    }

    @Test("typed readers return nil for NULL")
    func typedReaders() async throws {
        let connection = try await Connection.open()
        let id = UUID()

        let result = try await connection.query(
            Statement(
                "SELECT $1::uuid, $2::bigint, $3::bool, $4::uuid, $5::bigint, $6::bool, $7::bytea",
                [.uuid(id), .int(Int64.max), .bool(false), .uuid(nil), .int(Int?.none), .bool(nil), .bytes(nil)]
            ),
            deadline: .soon
        )

        let row = result.rows[0]
        #expect(row.uuid(0) == id)
        #expect(row.int(1) == Int(Int64.max))
        #expect(row.bool(2) == false)
        #expect(row.uuid(3) == nil)
        #expect(row.int(4) == nil)
        #expect(row.bool(5) == nil)
        #expect(row.bytes(6) == nil)
        await connection.close()
    }

    @Test("a value that must be there is read as its type, and never replaced by another")
    func required() async throws {
        let connection = try await Connection.open()
        let sql = "SELECT 1.5 AS number, '\\x00ff'::bytea AS bytes, NULL AS nothing, 'text' AS word"
        let row = try await connection.query(Statement(sql), deadline: .soon).row()
        let ids = "SELECT id FROM (VALUES ('00000000-0000-4000-8000-000000000001'), (%)) AS v (id)"
        let known = try await connection.query(
            Statement(ids.replacing("%", with: "'00000000-0000-4000-8000-000000000002'")), deadline: .soon)
        let lacking = try await connection.query(Statement(ids.replacing("%", with: "NULL")), deadline: .soon)
        await connection.close()

        #expect(try row.get("number") as Double == 1.5)
        #expect(try row.get("bytes") as [UInt8] == [0, 255])
        #expect(throws: DatabaseError.self) { try row.get("nothing") as Double }
        #expect(throws: DatabaseError.self) { try row.get("nothing") as [UInt8] }
        #expect(throws: DatabaseError.self) { try row.get("word") as Double }
        #expect((try known.values() as [UUID]).map(\.hexadecimal.last) == ["1", "2"])
        #expect(throws: DatabaseError.self) { try lacking.values() as [UUID] }
    }

    @Test("an array parameter keeps quotes, commas, backslashes and NULLs")
    func arrays() async throws {
        let connection = try await Connection.open()
        let elements = ["a,b", "\"", "\\", "", "NULL", nil, "{}"]

        let result = try await connection.query(
            Statement("SELECT unnest($1::text[])", [.array(elements)]), deadline: .soon
        )

        #expect(result.rows.map { $0[0] } == elements)
        await connection.close()
    }

    @Test("text with a zero byte is refused rather than cut short")
    func zeroByteInText() async throws {
        let connection = try await Connection.open()

        await #expect(throws: DatabaseError.self) { try await connection.value("SELECT $1::text", ["a\u{0}b"]) }

        #expect(connection.isUsable)
        #expect(try await connection.value("SELECT 1") == "1")
        await connection.close()
    }

    @Test("16 MB pass in both directions", arguments: [true, false])
    func largeValues(prepared: Bool) async throws {
        let connection = try await Connection.open(preparesStatements: prepared)
        let bytes = [UInt8](Data(repeating: 0, count: 8 << 20) + Data(repeating: 0xFF, count: 8 << 20))

        let result = try await connection.query(
            Statement("SELECT $1::bytea AS bytes, repeat('x', 16777216)", [.bytes(bytes)]), deadline: .soon
        )

        #expect(result.rows[0].bytes("bytes").map { Data($0) } == Data(bytes))
        #expect(result.rows[0][1]?.utf8.count == 16 << 20)
        await connection.close()
    }

    @Test("a pipeline that is larger than the sockets' buffers in both directions doesn't deadlock")
    func largePipeline() async throws {
        let connection = try await Connection.open()
        let text = String(repeating: "0123456789", count: 400_000)
        let statement = Statement("SELECT $1::text", [.text(text)])

        let outcome = await connection.transaction(Array(repeating: statement, count: 8), deadline: .soon)

        #expect(outcome.committedResults?.map { $0.rows[0][0] == text } == Array(repeating: true, count: 8))
        await connection.close()
    }

    @Test("the command tag tells how many rows were touched")
    func commandTag() async throws {
        let connection = try await Connection.open()
        try await connection.run("CREATE TEMP TABLE numbers (n int)")

        let inserted = try await connection.query(
            Statement("INSERT INTO numbers SELECT generate_series(1, 7)"), deadline: .soon
        )
        let deleted = try await connection.query(Statement("DELETE FROM numbers WHERE n > 5"), deadline: .soon)

        #expect(inserted.commandTag == "INSERT 0 7")
        #expect(deleted.commandTag == "DELETE 2")
        await connection.close()
    }
}
