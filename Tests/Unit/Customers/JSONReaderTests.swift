import Foundation
import TestSupport
import Testing

@testable import AuditTrail
@testable import Customers

@Suite("JSON of a body")
struct JSONReaderTests {
    @Test(
        "every value of the grammar is read",
        arguments: [
            ("null", JSONReader.Value.null), (" true\n", .bool(true)), ("\t false\r", .bool(false)),
            ("0", .number("0")), ("-0", .number("-0")), ("-12.50e+03", .number("-12.50e+03")), ("1E9", .number("1E9")),
            (#""""#, .string("")), (#""é漢😀""#, .string("é漢😀")),
            (#""\"\\\/\b\f\n\r\t""#, .string("\"\\/\u{8}\u{c}\n\r\t")),
            (#""\u00e9\u0000\uD83D\uDE00\uFFFF""#, .string("é\u{0}😀\u{ffff}")), (#""a\u0062c""#, .string("abc")),
            ("[]", .array([])), ("[ 1 ,[ ] ]", .array([.number("1"), .array([])])), ("{}", .object([])),
            (
                #"{ "b" : 1 , "a" : {"b":null} }"#,
                .object([
                    .init(name: "b", value: .number("1")),
                    .init(name: "a", value: .object([.init(name: "b", value: .null)])),
                ])
            ),
        ])
    func valid(text: String, value: JSONReader.Value) throws {
        #expect(try JSONReader.value(of: Array(text.utf8)) == value)
    }

    static let refused: [(text: String, reason: String)] = [
        ("", "a value is expected"), (" ", "a value is expected"), ("nul", "a value is expected"),
        ("True", "a value is expected"), ("NaN", "a value is expected"), ("+1", "a value is expected"),
        (".5", "a value is expected"), ("'a'", "a value is expected"), ("// a\n1", "a value is expected"),
        ("01", "a number must not begin with 0"), ("-01", "a number must not begin with 0"),
        ("-", "a digit is expected"), ("1.", "a digit is expected"), ("1.e1", "a digit is expected"),
        ("1e", "a digit is expected"), ("1e+", "a digit is expected"), ("0x10", "something follows the value"),
        ("1 2", "something follows the value"), ("{}}", "something follows the value"),
        ("nulll", "something follows the value"), ("1\u{0}", "something follows the value"),
        ("[1,]", "a value is expected"), ("[,1]", "a value is expected"), ("[1", "a comma or ] is expected"),
        ("[1 2]", "a comma or ] is expected"), ("[1}", "a comma or ] is expected"),
        (#"{"a":1,}"#, "the name of a member is expected"), ("{a:1}", "the name of a member is expected"),
        ("{1:1}", "the name of a member is expected"), ("{", "the name of a member is expected"),
        (#"{"a"}"#, "a colon is expected"), (#"{"a":}"#, "a value is expected"),
        (#"{"a":1"#, "a comma or } is expected"),
        (#"{"a":1 "b":2}"#, "a comma or } is expected"),
        (#"{"dry_run":false,"dry_run":true}"#, "a member occurs twice"),
        (#"{"a":1,"\u0061":1}"#, "a member occurs twice"),
        (#"[{"a":1,"b":{"c":1,"c":1}}]"#, "a member occurs twice"),
        (#""a"#, "a string doesn't end"), (#""a\"#, "there is no such escape sequence"),
        (#""\x""#, "there is no such escape sequence"), (#""\u12""#, "\\u takes four hexadecimal digits"),
        (#""\u00g0""#, "\\u takes four hexadecimal digits"), (#""\ud800""#, "half of a surrogate pair"),
        (#""\ud800\u0061""#, "half of a surrogate pair"), (#""\udc00\ud800""#, "half of a surrogate pair"),
        (#""\ud800\ud800""#, "half of a surrogate pair"), (#""\ud800x""#, "half of a surrogate pair"),
        ("\"a\nb\"", "a control character in a string must be escaped"),
        ("\"\u{0}\"", "a control character in a string must be escaped"),
        ("\u{feff}{}", "it begins with a byte order mark"),
        (String(repeating: "[", count: 17) + String(repeating: "]", count: 17), "there are more than 16 levels"),
        (String(repeating: #"{"a":"#, count: 17), "there are more than 16 levels"),
        ("[" + String(repeating: "0,", count: 2047) + "0]", "there are more than 2048 values"),
        ("{" + (0..<65).map { "\"\($0)\":0" }.joined(separator: ",") + "}", "an object has more than 64 members"),
    ]

    @Test("what isn't in the grammar is refused with a reason", arguments: refused)
    func invalid(text: String, reason: String) {
        let error = #expect(throws: JSONReader.Malformed.self) { try JSONReader.value(of: Array(text.utf8)) }
        #expect(error?.reason == reason)
    }

    @Test(
        "bytes that aren't UTF-8 are refused",
        arguments: [
            [0xff], [0xc3], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe9], [0x80], [0xf5, 0x80],
        ] as [[UInt8]])
    func notUTF8(bytes: [UInt8]) {
        let quote = UInt8(ascii: "\"")
        for body in [[quote] + bytes + [quote], [quote] + Array(#"\n"#.utf8) + bytes + [quote], bytes] {
            #expect(throws: JSONReader.Malformed.self) { try JSONReader.value(of: body) }
        }
    }

    @Test("sixteen levels, and names that Unicode holds equal but JSON doesn't, are read")
    func borders() throws {
        let deep = String(repeating: "[", count: 16) + String(repeating: "]", count: 16)
        _ = try JSONReader.value(of: Array(deep.utf8))
        _ = try JSONReader.value(of: Array("{\"\u{e9}\":1,\"e\u{301}\":2}".utf8))
    }

    @Test("the effort grows with the length and no faster, whatever the text")
    func linear() {
        let units = [
            "[", "{\"a\":", "[[[[[]]]]],", "\"", "\\", "\"\\n", "\"\\u", "0", "0,", "-", " ", "\"a\":0,", "{}",
            "e\u{301}",
            "\u{315}\u{300}", "{\"\u{315}\u{300}\":0,", "\"\\ud83d\\ude00\",",
        ]
        for unit in units {
            for start in ["", "[", "{", "[\"", "{\"ids\":["] {
                let body = Array((start + String(repeating: unit, count: 65_536 / unit.utf8.count)).utf8)
                #expect(JSONReader.measured(body).steps <= 2 * body.count + 64, "\(start)\(unit)")
            }
        }
    }
}

@Suite("The canonical form of a body")
struct CanonicalBodyTests {
    @Test(
        "spelling doesn't matter",
        arguments: [
            [
                #"{"ids":["a"],"dry_run":true}"#, #" { "dry_run" :true, "ids":[ "a" ]}"#,
                #"{"\u0069ds":["\u0061"],"dry_run":true}"#,
            ],
            ["1", "1.0", "10e-1", "0.1E1", "1e0"], ["0", "-0", "0.0", "0e5", "-0.00E-3"],
            ["-1.5", "-15e-1", "-0.15e+1"],
            ["100", "1e2", "1E+2", "100.000"], [#""/é\n""#, #""\/\u00e9\u000a""#], [#""\ud83d\ude00""#, #""😀""#],
            ["{}", "{ }"], ["[1, null]", "[1,null]\n"],
        ])
    func same(texts: [String]) {
        #expect(Set(texts.map { canonicalBody(Array($0.utf8)) }).count == 1)
    }

    @Test("what is said does")
    func different() {
        let texts = [
            "null", "true", "false", "0", "1", "-1", "10", "0.1", "1e99999999999", "1e99999999998", "\"\"", "\"1\"",
            "[]",
            "{}", "[1]", "[1,1]", "[[1]]", "\"a\"", "\"A\"", "\"\u{e9}\"", "\"e\u{301}\"", #"{"a":1}"#, #"{"a":2}"#,
            #"{"b":1}"#, #"{"a":null}"#, #"["a","b"]"#, #"["b","a"]"#, #"["a\",\"b"]"#, "\"\\u0001\"", "\"\\\\u0001\"",
        ]
        #expect(Set(texts.map { canonicalBody(Array($0.utf8)) }).count == texts.count)
    }

    @Test("it is JSON that says the same, and its own canonical form")
    func stable() throws {
        for text in [#"{"b":[1.50,"\u0001\"\\"],"a":{"":null}}"#, "-12.5e-7", #""é""#] {
            let canonical = canonicalBody(Array(text.utf8))
            _ = try JSONReader.value(of: canonical)
            #expect(canonicalBody(canonical) == canonical)
        }
    }

    @Test("what is no JSON stays as it is", arguments: ["", "a=b", "[1,]", #"{"a":1,"a":1}"#, "\u{feff}{}"])
    func noJSON(text: String) {
        #expect(canonicalBody(Array(text.utf8)) == Array(text.utf8))
    }
}

/// Random texts, valid ones and broken ones.
@Suite("JSON at random", .busy)
struct RandomJSONTests {
    @Test("a value survives every spelling, and all its spellings have one canonical form")
    func spellings() async throws {
        try await Fuzzing.run { (seed) throws in
            var random = Random(seed: seed)
            let value = random.value(depth: 4)

            let texts = (0..<5).map { _ in Array(random.spelling(of: value).utf8) }

            for text in texts {
                #expect(try Self.sorted(JSONReader.value(of: text)) == Self.sorted(value), "seed \(seed)")
            }
            #expect(Set(texts.map(canonicalBody)).count == 1, "seed \(seed)")
        }
    }

    @Test("what is read of a broken text is what Foundation reads, and never more")
    func mutations() async {
        await Fuzzing.run { seed in
            var random = Random(seed: seed)
            let text = random.mutation(of: Array(random.spelling(of: random.value(depth: 4)).utf8))
            let (read, steps) = JSONReader.measured(text)

            #expect(steps <= 2 * text.count + 64, "seed \(seed)")
            guard case .success(let value) = read, !value.hasLargeExponent else { return }
            #expect(
                (try? JSONSerialization.jsonObject(with: Data(text), options: .fragmentsAllowed)) != nil,
                "seed \(seed): \(String(decoding: text, as: UTF8.self))")
        }
    }

    private static func sorted(_ value: JSONReader.Value) -> JSONReader.Value {
        switch value {
        case .array(let elements): .array(elements.map(sorted))
        case .object(let members):
            .object(members.map { .init(name: $0.name, value: sorted($0.value)) }.sorted { $0.name < $1.name })
        case .number(let text): .number(String(decoding: canonicalBody(Array(text.utf8)), as: UTF8.self))
        default: value
        }
    }

    /// Values, and ways to write them.
    struct Random {
        var generator: SeededGenerator

        init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

        private mutating func below(_ limit: Int) -> Int { generator.below(limit) }

        mutating func value(depth: Int) -> JSONReader.Value {
            switch below(depth == 0 ? 5 : 7) {
            case 0: .null
            case 1: .bool(below(2) == 0)
            case 2, 3: .string(string())
            case 4: .number("\(below(2) == 0 ? "-" : "")\(below(1000))\(below(2) == 0 ? ".\(below(1000))" : "")")
            case 5: .array((0..<below(5)).map { _ in value(depth: depth - 1) })
            default:
                .object((0..<below(5)).map { .init(name: "\($0)\(string())", value: value(depth: depth - 1)) })
            }
        }

        private mutating func string() -> String {
            let scalars: [Unicode.Scalar] = [
                "a", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\u{0}", "\u{1f}", "\u{7f}", "é", "\u{301}", "漢",
                "\u{2028}",
                "\u{fffd}", "\u{ffff}", "😀", "\u{10ffff}",
            ]
            return String(String.UnicodeScalarView((0..<below(6)).map { _ in scalars[below(scalars.count)] }))
        }

        mutating func spelling(of value: JSONReader.Value) -> String {
            let space = [" ", "\n", "\t", "\r", "", "", "", ""]
            func around(_ text: String, _ random: inout Self) -> String {
                space[random.below(8)] + text + space[random.below(8)]
            }
            switch value {
            case .null: return around("null", &self)
            case .bool(let flag): return around(flag ? "true" : "false", &self)
            case .number(let text):
                let zeros = String(repeating: "0", count: below(3))
                let spelled = text.contains(".") ? text + zeros : text + (below(2) == 0 ? ".0" + zeros : "")
                return around(spelled + ["", "e0", "E+00", "e-0"][below(4)], &self)
            case .string(let text): return around(spelling(of: text), &self)
            case .array(let elements):
                let all = elements.map { spelling(of: $0) }
                return around("[" + around(all.joined(separator: ","), &self) + "]", &self)
            case .object(let members):
                let all = members.shuffled(using: &generator).map { member in
                    around(spelling(of: member.name), &self) + ":" + spelling(of: member.value)
                }
                return around("{" + around(all.joined(separator: ","), &self) + "}", &self)
            }
        }

        private mutating func spelling(of text: String) -> String {
            let escapes: [Unicode.Scalar: String] = ["\"": "\\\"", "\\": "\\\\", "\n": "\\n", "\t": "\\t"]
            var spelled = "\""
            for scalar in text.unicodeScalars {
                if let escape = escapes[scalar], below(2) == 0 {
                    spelled += escape
                } else if scalar == "/", below(2) == 0 {
                    spelled += "\\/"
                } else if scalar.value < 0x20 || scalar == "\"" || scalar == "\\" || below(3) == 0 {
                    for unit in String(scalar).utf16 {
                        let digits = String(unit, radix: 16, uppercase: below(2) == 0)
                        spelled += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                    }
                } else {
                    spelled.unicodeScalars.append(scalar)
                }
            }
            return spelled + "\""
        }

        mutating func mutation(of text: [UInt8]) -> [UInt8] {
            let meaningful = Array("{}[],:\"\\ue0123.-+nulltrf \n".utf8) + [0, 0x1f, 0x7f, 0x80, 0xc3, 0xef, 0xff]
            return generator.mutation(of: text, with: meaningful)
        }
    }
}

extension JSONReader.Value {
    /// Whether Foundation may find a number too large.
    fileprivate var hasLargeExponent: Bool {
        switch self {
        case .number(let text): text.contains { $0 == "e" || $0 == "E" } || text.count > 18
        case .array(let elements): elements.contains(where: \.hasLargeExponent)
        case .object(let members): members.contains { $0.value.hasLargeExponent }
        default: false
        }
    }
}
