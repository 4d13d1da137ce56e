import TestSupport
import Testing

@Suite("Creating a customer", .unlimitedStage())
struct CreationTests {
    let stage = Stage.current

    @Test("answers 201 with the record, its defaults and the ETag that a read gives")
    func defaults() async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.create(#"{"first_name":"Ada","last_name":"Lovelace","phone_number":"+44 1"}"#)

        let record = try Record(answer)
        let expected = CustomerFixture {
            $0.id = record.id
            ($0.firstName, $0.lastName, $0.phoneNumber) = ("Ada", "Lovelace", "+44 1")
            ($0.email, $0.lastSpent, $0.lastPurchaseDate) = (nil, nil, nil)
            ($0.createdAt, $0.updatedAt) = (record.createdAt, record.createdAt)
        }
        #expect(answer.status == 201)
        #expect(answer.body == expected.record(app: tenant.app))
        let read = try await tenant.read(record.id)
        #expect(read.body == answer.body)
        #expect(answer["etag"] != nil)
        #expect(read["etag"] == answer["etag"])
    }

    @Test("keeps every member as it was given, to the byte")
    func members() async throws {
        let tenant = try await stage.tenant()
        let given = CustomerFixture {
            ($0.firstName, $0.lastName) = ("Zoë \\ \"👩🏽‍🚀\"", "O'Neil\u{2028}\u{200f}\u{a0}.")
            ($0.email, $0.phoneNumber) = ("e\u{301}@例え.jp", "+1 (23) 4-5")
            ($0.status, $0.customerType) = ("BLACKLISTED", "Non-Profit")
            ($0.lastSpent, $0.lastPurchaseDate) = (nil, nil)
        }

        let answer = try await tenant.create(
            """
            {"first_name":"Zoë \\\\ \\"👩🏽‍🚀\\"","last_name":"O'Neil\\u2028\u{200f}\u{a0}.","email":"e\\u0301@例え.jp",
             "phone_number":"+1 (23) 4-5","status":"BLACKLISTED","customer_type":"Non-Profit"}
            """)

        try #require(answer.status == 201)
        let record = try Record(answer)
        var expected = given
        (expected.id, expected.createdAt, expected.updatedAt) = (record.id, record.createdAt, record.updatedAt)
        #expect(answer.body == expected.record(app: tenant.app))
    }

    @Test(
        "takes every type and every status",
        arguments: [
            (
                "customer_type",
                [
                    "Individual", "Startup", "Small Business", "Medium Business", "Enterprise", "Non-Profit",
                    "Government",
                ]
            ),
            ("status", ["ACTIVE", "BLACKLISTED", "DEACTIVATED"]),
        ])
    func values(member: String, values: [String]) async throws {
        let tenant = try await stage.tenant()

        for value in values {
            let answer = try await tenant.create(Self.body([member: value]))
            #expect(answer.status == 201)
            #expect(answer.body.contains("\"\(member)\":\"\(value)\""))
        }
    }

    @Test(
        "measures texts in Unicode scalars",
        arguments: [
            ("first_name", 1...100), ("last_name", 1...100), ("phone_number", 1...20), ("email", 3...255),
        ])
    func lengths(member: String, range: ClosedRange<Int>) async throws {
        let tenant = try await stage.tenant()
        // One scalar that is two UTF-16 units, and two scalars that are one character.
        let texts: [(Int) -> String] = [
            { String(repeating: "😀", count: $0) },
            { String(repeating: "e\u{301}", count: $0 / 2) + ($0 % 2 == 0 ? "" : "x") },
        ]

        for characters in texts {
            let text = { (length: Int) in member == "email" ? "😀@" + characters(length - 2) : characters(length) }
            for length in [range.lowerBound, range.upperBound] {
                #expect(try await tenant.create(Self.body([member: text(length)])).status == 201)
            }
            let refused = try await tenant.create(Self.body([member: text(range.upperBound + 1)]))
            #expect(refused.status == 400)
            #expect(refused.hasErrorForm)
            #expect(refused.body.contains(member))
        }
    }

    static let wrong: [(member: String, body: String)] = [
        ("first_name", #"{"last_name":"b","phone_number":"1"}"#),
        ("last_name", #"{"first_name":"a","phone_number":"1"}"#),
        ("phone_number", #"{"first_name":"a","last_name":"b"}"#),
        ("first_name", #"{"first_name":"","last_name":"b","phone_number":"1"}"#),
        ("last_name", #"{"first_name":"a","last_name":"","phone_number":"1"}"#),
        ("first_name", #"{"first_name":1,"last_name":"b","phone_number":"1"}"#),
        ("first_name", #"{"first_name":null,"last_name":"b","phone_number":"1"}"#),
        ("last_name", #"{"first_name":"a","last_name":["b"],"phone_number":"1"}"#),
        ("last_name", #"{"first_name":"a","last_name":true,"phone_number":"1"}"#),
        ("phone_number", #"{"first_name":"a","last_name":"b","phone_number":1234}"#),
        ("phone_number", #"{"first_name":"a","last_name":"b","phone_number":null}"#),
        ("email", #"{"first_name":"a","last_name":"b","phone_number":"1","email":{}}"#),
        ("status", #"{"first_name":"a","last_name":"b","phone_number":"1","status":"active"}"#),
        ("status", #"{"first_name":"a","last_name":"b","phone_number":"1","status":null}"#),
        ("customer_type", #"{"first_name":"a","last_name":"b","phone_number":"1","customer_type":"Person"}"#),
        ("customer_type", #"{"first_name":"a","last_name":"b","phone_number":"1","customer_type":7}"#),
        ("fist_name", #"{"first_name":"a","last_name":"b","phone_number":"1","fist_name":"c"}"#),
        ("id", #"{"first_name":"a","last_name":"b","phone_number":"1","id":"11111111-1111-1111-1111-111111111111"}"#),
        ("appId", #"{"first_name":"a","last_name":"b","phone_number":"1","appId":"app_1"}"#),
        ("last_spent", #"{"first_name":"a","last_name":"b","phone_number":"1","last_spent":1}"#),
        ("first_name", #"{"first_name":"\u200b ","last_name":"b","phone_number":"1"}"#),
        ("last_name", #"{"first_name":"a","last_name":"\u202eb","phone_number":"1"}"#),
        ("phone_number", #"{"first_name":"a","last_name":"b","phone_number":"\u001b[31m"}"#),
        ("email", #"{"first_name":"a","last_name":"b","phone_number":"1","email":"a"}"#),
        ("email", #"{"first_name":"a","last_name":"b","phone_number":"1","email":"a@b\r\nBcc: c@d"}"#),
        ("first_name", #"{"first_name":"a\u0000b","last_name":"b","phone_number":"1"}"#),
        ("email", #"{"first_name":"a","last_name":"b","phone_number":"1","email":"\u0000"}"#),
    ]

    @Test("refuses a member that is missing, unknown or of another kind in a sentence that names it", arguments: wrong)
    func wrongMembers(member: String, body: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.create(body)

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains(member))
        #expect(answer.body.contains(" "))
        #expect(try await tenant.customerCount() == "0")
        let entries = try await tenant.entries()
        #expect(entries.map { $0["outcome"] } == ["INVALID"])
        // No redaction reaches an entry without a customer: it doesn't quote the body.
        let message = try #require(entries.first?["error_message"])
        #expect(message.contains(member) || message == "unknown member")
    }

    @Test(
        "refuses what is no JSON object",
        arguments: [
            "", " ", "null", "[]", "\"first_name\"", "1", "{", "{}}", "{'first_name':'a'}", #"{"first_name":"\ud800"}"#,
            "first_name=a", String(repeating: "[", count: 60_000),
            #"{"first_name":"a","last_name":"b","phone_number":"1",}"#,
            #"{"first_name":"a","last_name":"b","phone_number":"1","phone_number":"1"}"#,
            "\u{feff}" + #"{"first_name":"a","last_name":"b","phone_number":"1"}"#,
        ])
    func noObject(body: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.create(body)

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(try await tenant.outcomes() == ["INVALID"])
    }

    @Test("refuses a body of more than 64 KiB before anybody looks at it")
    func largeBody() async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.create(Self.body(["first_name": String(repeating: "a", count: 65_537)]))

        #expect(answer.status == 413)
        #expect(answer.hasErrorForm)
        #expect(try await tenant.entries().isEmpty)
    }

    @Test("a member's name that no database can store is refused, and no other request is affected")
    func poisonedName() async throws {
        let tenant = try await stage.tenant()
        let poisoned = #"{"first_name":"a","last_name":"b","phone_number":"1","a\u0000b":1}"#

        let answers = try await withThrowingTaskGroup(of: HTTPAnswer.self) { group in
            for index in 0..<20 {
                group.addTask { try await tenant.create(index.isMultiple(of: 2) ? poisoned : Self.body([:])) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        #expect(answers.filter { $0.status == 400 }.count == 10)
        #expect(answers.filter { $0.status == 201 }.count == 10)
        #expect(try await tenant.entries().count == 20)
    }

    @Test("with a key it is done once and replayed to the byte, ETag included")
    func idempotent() async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        let first = try await tenant.create(Self.body([:]), key: key)
        let second = try await tenant.create(Self.body([:]), key: key)

        #expect([first, second].map(\.status) == [201, 201])
        #expect(second.body == first.body)
        #expect(second["etag"] == first["etag"])
        #expect([first, second].map { $0["idempotent-replayed"] } == [nil, "true"])
        #expect(try await tenant.customerCount() == "1")
        #expect(try await tenant.outcomes() == ["SUCCEEDED", "REPLAYED"])
        #expect(Set(try await tenant.entries().map { $0["customer_id"] }) == [try Record(first).id])
    }

    @Test("with one key at one time it is done once")
    func simultaneous() async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        let answers = try await withThrowingTaskGroup(of: HTTPAnswer.self) { group in
            for _ in 0..<10 { group.addTask { try await tenant.create(Self.body([:]), key: key) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        #expect(Set(answers.map(\.status)).isSubset(of: [201, 409]))
        #expect(Set(answers.filter { $0.status == 201 }.map(\.body)).count == 1)
        #expect(try await tenant.customerCount() == "1")
    }

    @Test("another body under the same key is a 422")
    func otherBody() async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        _ = try await tenant.create(Self.body([:]), key: key)
        let answer = try await tenant.create(Self.body(["first_name": "Another"]), key: key)

        #expect(answer.status == 422)
        #expect(try await tenant.customerCount() == "1")
    }

    @Test("without a key it is done as often as asked")
    func withoutKey() async throws {
        let tenant = try await stage.tenant()

        let first = try await tenant.create(Self.body([:]))
        let second = try await tenant.create(Self.body([:]))

        #expect([first, second].map(\.status) == [201, 201])
        #expect(try Record(first).id != Record(second).id)
        #expect(try await tenant.customerCount() == "2")
    }

    @Test("a malformed key is refused")
    func malformedKey() async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.create(Self.body([:]), key: "no-uuid")

        #expect(answer.body == HTTPAnswer.error(400, "idempotency-key must be a UUID", "Bad Request"))
        #expect(try await tenant.customerCount() == "0")
    }

    @Test("its entry says who created which customer, without a before-image")
    func entry() async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        let answer = try await tenant.create(Self.body([:]), key: key)

        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(entries[0]["action"] == "customer.create")
        #expect(entries[0]["outcome"] == "SUCCEEDED")
        #expect(entries[0]["status_code"] == "201")
        #expect(entries[0]["customer_id"] == (try Record(answer).id))
        #expect(entries[0]["before_image"] == nil)
        #expect(entries[0]["actor_client_key"] == tenant.key.clientKey)
        #expect(entries[0]["idempotency_key"] == key)
        #expect(entries[0]["request_id"] == answer["x-request-id"])
    }

    /// A good body with some members replaced.
    static func body(_ members: [String: String]) -> String {
        let all = ["first_name": "Ada", "last_name": "Lovelace", "phone_number": "+44 1"].merging(members) { $1 }
        return "{" + all.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",") + "}"
    }
}
