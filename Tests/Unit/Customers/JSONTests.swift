import AuditTrail
import Customers
import Foundation
import Testing

@Suite("JSON")
struct JSONTests {
    @Test("any text comes back as it was, and takes one line")
    func text() throws {
        let alphabet: [Unicode.Scalar] =
            (0..<0x30).map { Unicode.Scalar(UInt8($0)) } + [
                "\"", "\\", "/", "\u{7f}", "é", "\u{301}", "\u{2028}", "漢", "😀",
            ]
        for length in 0..<200 {
            var text = String.UnicodeScalarView()
            for _ in 0..<length { text.append(alphabet.randomElement()!) }
            let expected = String(text)

            let written = JSON.object([.init(name: expected, value: .array([.string(expected), nil]))]).text

            #expect(written.unicodeScalars.allSatisfy { $0.value >= 0x20 })
            let read = try JSONSerialization.jsonObject(with: Data(written.utf8)) as? [String: [Any]]
            #expect(read?.keys.first?.unicodeScalars.elementsEqual(expected.unicodeScalars) == true)
            #expect(
                (read?.values.first?.first as? String)?.unicodeScalars.elementsEqual(expected.unicodeScalars) == true)
        }
    }

    @Test("escapes are as short as they go, and text of the database goes as it is")
    func form() {
        let json: JSON = [
            "a": .string("\"\\\n\r\t\u{1}/é"), "b": .raw("1.50"), "c": .int(-1), "d": .bool(true), "e": .array([]),
        ]

        #expect(json.text == #"{"a":"\"\\\n\r\t\u0001/é","b":1.50,"c":-1,"d":true,"e":[]}"#)
    }
}
