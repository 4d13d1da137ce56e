import AuditTrail
@testable import Customers
import Testing

@Suite("Text of clients")
struct TextRuleTests {
    private func refusal(of member: String, _ text: String) -> String? {
        var members: [String: String] = ["first_name": "a", "last_name": "b", "phone_number": "1"]
        members[member] = text
        let body = JSON.object(members.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: .string($0.value)) })
        do {
            _ = try CustomerFields(Array(body.text.utf8), .new)
            return nil
        } catch {
            return error.message
        }
    }

    @Test("what acts on a terminal or a page is shown escaped, and nothing else")
    func visible() {
        #expect(
            TextRule.visible("Zoë \u{1b}[31m\r\n\u{202e}\u{2069}\u{9b}!")
                == #"Zoë \u{1B}[31m\u{D}\u{A}\u{202E}\u{2069}\u{9B}!"#)
        #expect(TextRule.visible("می\u{200c}خواهم 👩\u{200d}🚀 a\\u{1B}") == "می\u{200c}خواهم 👩\u{200d}🚀 a\\u{1B}")
    }

    @Test(
        "names and numbers of all scripts are taken",
        arguments: [
            "a", "Zoë", "e\u{301}", "O'Neil", "李", "נועה", "محمد", "می\u{200c}خواهم", "👩\u{200d}🚀", "a b", "\u{200f}א",
            "Jr.\u{a0}", "<b>",
        ])
    func names(text: String) {
        #expect(refusal(of: "first_name", text) == nil)
        #expect(refusal(of: "last_name", text) == nil)
    }

    @Test("control characters are refused", arguments: ["first_name", "last_name", "email", "phone_number"])
    func control(member: String) {
        for text in ["\u{0}", "a\u{0}b", "a\nb", "\r\n", "a\tb", "\u{1b}[31m", "\u{7f}", "\u{85}", "a\u{9f}"] {
            #expect(refusal(of: member, text) == "\(member) must not contain control characters")
        }
    }

    @Test(
        "characters that turn the direction of writing are refused", arguments: ["first_name", "email", "phone_number"])
    func direction(member: String) {
        for scalar in Array(0x202a...0x202e) + Array(0x2066...0x2069) {
            let text = "a" + String(Unicode.Scalar(UInt32(scalar))!) + "@b.example"
            #expect(
                refusal(of: member, text)
                    == "\(member) must not contain bidirectional embeddings, overrides or isolates")
        }
    }

    @Test(
        "text without a visible character is blank",
        arguments: [
            " ", "\u{a0}\u{3000}", "\u{200b}", "\u{200d}\u{2060}", "\u{feff}", "\u{ad}", "\u{3164}", "\u{2800}",
            " \u{fe0f}",
        ])
    func blank(text: String) {
        for member in ["first_name", "last_name", "phone_number"] {
            #expect(refusal(of: member, text) == "\(member) must not be blank")
        }
    }

    @Test(
        "an address of a mailbox is taken",
        arguments: [
            "a@b", "a.b+c@example.com", "e\u{301}@例え.jp", "\"a b\"@example.com", "x@[192.0.2.1]",
            String(repeating: "a", count: 64) + "@" + String(repeating: "b", count: 190),
        ])
    func email(text: String) {
        #expect(refusal(of: "email", text) == nil)
    }

    @Test(
        "what can't be one is refused",
        arguments: [
            ("a", "must contain exactly one @"), ("a@b@c", "must contain exactly one @"),
            ("\"a@b\"@c", "must contain exactly one @"),
            ("@b.example", "must have 1 to 64 characters before the @"),
            (" @b.example", "must have 1 to 64 characters before the @"),
            (String(repeating: "a", count: 65) + "@b", "must have 1 to 64 characters before the @"),
            ("a@", "must have a domain without empty labels after the @"),
            ("a@b..c", "must have a domain without empty labels after the @"),
            ("a@.b", "must have a domain without empty labels after the @"),
            ("a@b.", "must have a domain without empty labels after the @"),
            ("a@b c", "must have a domain without blanks after the @"),
            ("a@ b", "must have a domain without blanks after the @"),
            ("a@b\u{200b}.c", "must have a domain without blanks after the @"),
        ])
    func noEmail(text: String, rule: String) {
        #expect(refusal(of: "email", text) == "email \(rule)")
    }

    @Test("an unknown member is named only if it can be a misspelled one")
    func unknownMember() {
        #expect(refusal(of: "frist_name", "a")?.hasPrefix("unknown member frist_name;") == true)
        for name in ["+49 151 1234", "ada@example.com", "a\u{202e}b", "", String(repeating: "a", count: 51)] {
            #expect(refusal(of: name, "a")?.hasPrefix("unknown member; known are first_name") == true)
        }
    }
}
