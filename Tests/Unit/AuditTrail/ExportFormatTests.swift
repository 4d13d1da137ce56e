import Foundation
import Testing

@testable import Customers

@Suite("Lines of an export")
struct ExportFormatTests {
    private static let line: String = {
        var row = ChainRow()
        for column in ChainRow.Column.allCases { row[column] = "x" }
        row[.seq] = "1"
        row[.statusCode] = "200"
        row[.appID] = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a11"
        row[.occurredAt] = "1705314600000001"
        row[.recordedAt] = "-1"
        row[.reason] = "a \"quoted\"\n\u{1}\u{7f} — 😀 \\ /"
        row[.ip] = nil
        return text(row)
    }()

    private static func text(_ row: ChainRow, head: ChainHead? = nil) -> String {
        var lines = ChainExport.Lines(heads: head.map { [$0] } ?? [])
        lines.take(row)
        lines.finish()
        return String(decoding: lines.drain(), as: UTF8.self)
    }

    @Test("an entry is read back as it was written")
    func roundTrip() throws {
        let row = try #require(try ExportLine(Self.line.utf8).row)
        #expect(Self.text(row) == Self.line)
        #expect(row[.reason] == "a \"quoted\"\n\u{1}\u{7f} — 😀 \\ /")
        #expect(row[.occurredAt] == "1705314600000001")
        #expect(row[.recordedAt] == "-1")
        #expect(row[.ip] == nil)
        #expect(Self.line.contains(#""occurred_at":"2024-01-15T10:30:00.000001Z""#))
        #expect(Self.line.contains(#""recorded_at":"1969-12-31T23:59:59.999999Z""#))
    }

    @Test("the last line of a chain tells its head, and a head without entries has a line of its own")
    func heads() throws {
        let app = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a11"
        let row = try #require(try ExportLine(Self.line.utf8).row)
        let head = ChainHead(appID: app, seq: 1, hash: [1, 2, 255])
        #expect(try ExportLine(Self.text(row, head: head).utf8).head == head)
        var lines = ChainExport.Lines(heads: [head, .genesis("00000000-0000-0000-0000-000000000000")])
        lines.finish()
        let text = String(decoding: lines.drain(), as: UTF8.self)
        #expect(text == "{\"app_id\":\"\(app)\",\"head_seq\":1,\"head_hash\":\"0102ff\"}\n")
        #expect(try ExportLine(text.utf8).head == head)
        #expect(try ExportLine(text.utf8).row == nil)
    }

    @Test("white space and other escapes don't matter: other tools may have written the line again")
    func rewritten() throws {
        let row = try ExportLine(Self.line.utf8).row
        let rewriting = [("\":", "\" : "), ("—", "\\u2014"), ("😀", "\\uD83d\\ude00"), (" /", " \\/")]
        let spaced = rewriting.reduce(Self.line) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
        #expect(try ExportLine(spaced.utf8).row == row)
    }

    @Test(
        "a line that isn't exactly an entry is refused",
        arguments: [
            ("\"seq\":1", "\"seq\":1.0"), ("\"seq\":1", "\"seq\":\"1\""), ("\"seq\":1", "\"seq\":01"),
            ("\"seq\":1", "\"seq\":-0"), ("\"seq\":1", "\"seq\":99999999999999999999"), ("\"seq\":1,", ""),
            ("\"seq\":1", "\"seq\":1,\"seq\":1"), ("\"seq\":1", "\"seq\":true"), ("\"seq\":1", "\"seq\":{}"),
            ("\"seq\":1", "\"seq\":1,\"more\":null"), ("\"action\":\"x\"", "\"action\":5"),
            ("\"seq\":1", "\"seq\":1,\"head_seq\":1"), ("\"seq\":1", "\"seq\":1,\"head_seq\":1,\"head_hash\":\"AB\""),
            ("}\n", "}}"), ("}\n", ""), ("{", "["), ("\"x\"", "\"\u{1}\""), ("\"x\"", "\"\\ud800\""),
            ("\"x\"", "\"\\x\""), ("\"x\"", "\"\\u12\""),
        ])
    func malformed(part: String, replacement: String) throws {
        let range = try #require(Self.line.range(of: part))
        let line = Self.line.replacingCharacters(in: range, with: replacement)
        #expect(throws: ExportLine.Malformed.self) { try ExportLine(line.utf8) }
        #expect(throws: ExportLine.Malformed.self) { try ExportLine(Array(Self.line.utf8) + [0xFF]) }
    }

    @Test(
        "times keep every microsecond",
        arguments: [
            ("0", "1970-01-01T00:00:00.000000Z"), ("951782400000000", "2000-02-29T00:00:00.000000Z"),
            ("-1", "1969-12-31T23:59:59.999999Z"), ("-62167219200000000", "0000-01-01T00:00:00.000000Z"),
            ("253402300799999999", "9999-12-31T23:59:59.999999Z"), ("253402300800000000", "253402300800000000"),
            ("-62167219200000001", "-62167219200000001"), ("Infinity", "Infinity"),
        ])
    func times(microseconds: String, text: String) {
        #expect(ExportTime.text(microseconds: microseconds) == text)
        #expect(ExportTime.microseconds(text) == microseconds)
    }

    @Test(
        "what isn't a time stays what it is",
        arguments: ["2023-02-29T00:00:00.000000Z", "2024-01-15T10:30:60.000000Z", "x"]
    )
    func noTimes(text: String) {
        #expect(ExportTime.microseconds(text) == text)
    }
}
