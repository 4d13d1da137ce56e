import LibPQ
import TestSupport
import Testing

@Suite("The list of customers", .unlimitedStage())
struct CustomerListTests {
    private static let path = "/api/v0/customers"

    @Test("it is newest first, ten at a time, and says how many there are")
    func pages() async throws {
        let tenant = try await Stage.current.tenant()
        _ = try await tenant.insert(count: 25)
        try await tenant.database.run(
            """
            UPDATE customers
            SET created_at = timestamptz '2025-01-01Z' + make_interval(secs => split_part(last_name, ' ', 2)::int)
            WHERE app_id = '\(tenant.app)'
            """
        )

        let first = try await tenant.get(Self.path)
        let second = try await tenant.get(Self.path, [("skip", "20"), ("take", "100")])

        #expect(try first.column("last_name") == (16...25).reversed().map { "Doe \($0)" })
        #expect(try second.column("last_name") == (1...5).reversed().map { "Doe \($0)" })
        #expect(first.body.hasSuffix(#"],"total":25,"skip":0,"take":10}"#))
        #expect(second.body.hasSuffix(#"],"total":25,"skip":20,"take":100}"#))
        #expect(first.rateHeaders.count == 3)
    }

    @Test("customers of the same moment keep their order from page to page")
    func stableOrder() async throws {
        let tenant = try await Stage.current.tenant()
        let ids = try await tenant.insert(count: 30)

        var seen: [String?] = []
        for skip in stride(from: 0, to: 30, by: 7) {
            seen += try await tenant.get(Self.path, [("skip", "\(skip)"), ("take", "7"), ("name", "doe")]).column("id")
        }

        #expect(seen == ids.sorted())
    }

    /// - Parameter moments: at how many different times the customers were made.
    @Test(
        "by cursor each customer comes once, in the order of the list, though others are made and deleted meanwhile",
        arguments: [1, 3, 30], [[], [(name: "name", value: "doe")], [(name: "status", value: "ACTIVE")]])
    func cursor(moments: Int, filter: [(name: String, value: String)]) async throws {
        let tenant = try await Stage.current.tenant()
        _ = try await tenant.insert(count: 30)
        try await tenant.database.run(
            """
            UPDATE customers
            SET created_at = timestamptz '2001-01-01Z' + make_interval(secs => split_part(last_name, ' ', 2)::int % \(moments) + 1e-6)
            WHERE app_id = '\(tenant.app)'
            """
        )
        let all = try await tenant.get(Self.path, filter + [("take", "100")]).column("id").compactMap(\.self)

        var seen: [String] = []
        var cursor: String? = "*"
        while let asked = cursor {
            let page = try await tenant.get(Self.path, filter + [("cursor", asked), ("take", "7")])
            let ids = try page.column("id").compactMap(\.self)
            seen += ids
            cursor = try page.object["next_cursor"] as? String
            #expect(try page.total == nil && ids.count == min(7, 30 - seen.count + ids.count))
            let next = cursor.map { "\"\($0)\"" } ?? "null"
            #expect(page.body.hasSuffix(#"],"total":null,"skip":0,"take":7,"next_cursor":\#(next)}"#))
            // A new one is ahead of all pages, and the cursor outlives its customer.
            try await tenant.insert()
            try await tenant.database.run("DELETE FROM customers WHERE id = '\(try #require(ids.last))'")
        }

        #expect(all.count == 30 && seen == all)
    }

    @Test("the total is exact, an estimate that is exact for few, or left out")
    func totals() async throws {
        let tenant = try await Stage.current.tenant()
        _ = try await tenant.insert(count: 12)

        for (kind, total) in [("exact", "12"), ("estimate", "12"), ("none", "null"), ("", "12")] {
            for query in [[], [(name: "name", value: "john")], [(name: "status", value: "ACTIVE")]] {
                let page = try await tenant.get(Self.path, query + [("total", kind)])
                #expect(page.body.hasSuffix(#"],"total":\#(total),"skip":0,"take":10}"#), "\(kind) \(query)")
            }
        }
        for (kind, total) in [("exact", "12"), ("estimate", "12"), ("none", "null"), ("", "null")] {
            let page = try await tenant.get(Self.path, [("cursor", "*"), ("total", kind)])
            #expect(page.body.contains(#"],"total":\#(total),"skip":0,"take":10,"next_cursor":""#), "\(page)")
        }
    }

    @Test("a record is what a read of it answers, byte for byte")
    func records() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert(
            CustomerFixture {
                $0.firstName = #"Zoë "Z" \ 🦊"#
                $0.lastSpent = "9999999999999999.99"
                $0.email = nil
            })

        let list = try await tenant.get(Self.path)

        #expect(list.body == #"{"data":[\#(customer.record(app: tenant.app))],"total":1,"skip":0,"take":10}"#)
    }

    static let filters: [(name: String, value: String, finds: [String])] = [
        ("name", "ada", ["Ada Lovelace"]),
        ("name", "LOVE", ["Ada Lovelace"]),
        ("name", "a l", ["Ada Lovelace"]),
        ("name", "Ada Lovelace", ["Ada Lovelace"]),
        ("name", "lovelace ada", []),
        ("name", "josé", ["JOSÉ Ñandú"]),
        ("name", "ñANDÚ", ["JOSÉ Ñandú"]),
        ("name", "%", ["100% _under_"]),
        ("name", "_", ["100% _under_"]),
        ("name", "0%", ["100% _under_"]),
        ("name", #"\"#, [#"Back\slash O'Brien "Q""#]),
        ("name", "o'b", [#"Back\slash O'Brien "Q""#]),
        ("name", #""q""#, [#"Back\slash O'Brien "Q""#]),
        ("name", "🦊", ["🦊 Fox"]),
        ("name", "東京", ["東京 太郎"]),
        ("name", "'; DROP TABLE customers; --", []),
        ("email", "ADA@", ["Ada Lovelace"]),
        ("email", "a_b", ["100% _under_"]),
        ("email", "%", []),
        ("email", "example.com", ["100% _under_", "Ada Lovelace", "JOSÉ Ñandú"]),
    ]

    @Test("a filter finds substrings in any case, taken literally", arguments: filters)
    func filter(name: String, value: String, finds: [String]) async throws {
        let tenant = try await Stage.current.tenant()
        for (first, last, email) in [
            ("Ada", "Lovelace", "ada@example.com"), ("JOSÉ", "Ñandú", "jose@EXAMPLE.com"),
            ("100%", "_under_", "a_b@example.com"), (#"Back\slash"#, #"O'Brien "Q""#, nil), ("🦊", "Fox", nil),
            ("東京", "太郎", nil),
        ] {
            try await tenant.insert(
                CustomerFixture {
                    $0.firstName = first
                    $0.lastName = last
                    $0.email = email
                })
        }

        let found = try await tenant.get(Self.path, [(name, value)])

        let names = try found.data.map { "\($0["first_name"] ?? "") \($0["last_name"] ?? "")" }
        #expect(names.sorted() == finds.sorted())
        #expect(try found.total == finds.count)
    }

    static let phones: [(phone: String, finds: [String])] = [
        ("0170 1234567", ["+49 170 1234567"]), ("+49 (170) 123-45-67", ["+49 170 1234567"]),
        ("4567", ["+49 170 1234567", "00 1 999 4567"]), ("9994567", ["00 1 999 4567"]), ("170", []), ("00", []),
        ("%67", ["+49 170 1234567", "00 1 999 4567"]),
    ]

    @Test("a phone number is found by its last digits, however it is written", arguments: phones)
    func phone(phone: String, finds: [String]) async throws {
        let tenant = try await Stage.current.tenant()
        for number in ["+49 170 1234567", "00 1 999 4567", ""] {
            try await tenant.insert(CustomerFixture { $0.phoneNumber = number })
        }

        let found = try await tenant.get(Self.path, [("phone", phone)])

        #expect(try found.column("phone_number").compactMap { $0 }.sorted() == finds)
    }

    @Test("an id finds its customer among those in use, or among the archived")
    func id() async throws {
        let tenant = try await Stage.current.tenant()
        let (used, archived) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.database.run("UPDATE customers SET archived_at = now() WHERE id = '\(archived.id)'")

        func found(_ id: String, archived: String) async throws -> [String?] {
            try await tenant.get(Self.path, [("id", id), ("archived", archived)]).column("id")
        }

        #expect(try await found(used.id, archived: "") == [used.id])
        #expect(try await found(used.id, archived: "true") == [])
        #expect(try await found(archived.id, archived: "false") == [])
        #expect(try await found(archived.id, archived: "true") == [archived.id])
        for query in [[], [(name: "name", value: "john")], [(name: "status", value: "ACTIVE")]] {
            let all = try await tenant.get(Self.path, query + [("archived", "true")])
            #expect(try all.column("id") == [archived.id] && all.total == 1)
        }
    }

    @Test("filters narrow each other, and empty ones don't count")
    func filtersTogether() async throws {
        let tenant = try await Stage.current.tenant()
        let wanted = try await tenant.insert(CustomerFixture { $0.status = "BLACKLISTED" })
        try await tenant.insert(CustomerFixture { $0.status = "ACTIVE" })
        try await tenant.insert(
            CustomerFixture {
                $0.status = "BLACKLISTED"
                $0.email = nil
            })

        let both = try await tenant.get(
            Self.path, [("status", "BLACKLISTED"), ("name", "john"), ("email", "john.doe")])
        let empty = try await tenant.get(Self.path, [("status", ""), ("name", ""), ("email", ""), ("colour", "red")])

        #expect(try both.column("id") == [wanted.id])
        #expect(try empty.total == 3)
    }

    @Test("a plus sign in a query is a space, an encoded one is a plus sign")
    func plus() async throws {
        let tenant = try await Stage.current.tenant()
        try await tenant.insert(CustomerFixture { $0.email = "john+tag@example.com" })

        let spaced = try await tenant.send(HTTPCall("GET", Self.path + "?name=john+doe", headers: tenant.key.headers))
        let tagged = try await tenant.get(Self.path, [("email", "john+tag")])

        #expect(try spaced.total == 1)
        #expect(try tagged.total == 1)
    }

    @Test("archived customers aren't shown or counted")
    func archived() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        try await tenant.database.run("UPDATE customers SET archived_at = now() WHERE app_id = '\(tenant.app)'")

        for query in [[], [(name: "name", value: "john")], [(name: "status", value: "ACTIVE")]] {
            #expect(try await tenant.get(Self.path, query).body == #"{"data":[],"total":0,"skip":0,"take":10}"#)
        }
        #expect(try await tenant.get("\(Self.path)/\(customer.id)").status == 200)
    }

    @Test("apps never meet", arguments: [[], [(name: "name", value: "john")], [(name: "email", value: "john")]])
    func tenants(query: [(name: String, value: String)]) async throws {
        let one = try await Stage.current.tenant()
        let other = try await Stage.current.tenant()
        let customer = try await one.insert()
        try await other.insert(CustomerFixture { $0.id = customer.id })
        _ = try await other.insert(count: 3)

        #expect(try await one.get(Self.path, query).column("appId") == ["app_\(one.app)"])
        #expect(try await other.get(Self.path, query).total == 4)
    }

    static let refusals: [(query: String, message: String)] = [
        ("skip=-1", "skip must be a whole number from 0 to 10000"),
        ("skip=10001", "skip must be a whole number from 0 to 10000"),
        ("skip=1.5", "skip must be a whole number from 0 to 10000"),
        ("skip=x", "skip must be a whole number from 0 to 10000"),
        ("skip=99999999999999999999", "skip must be a whole number from 0 to 10000"),
        ("skip=%D9%A1", "skip must be a whole number from 0 to 10000"),
        ("take=0", "take must be a whole number from 1 to 100"),
        ("take=101", "take must be a whole number from 1 to 100"),
        ("take=%2B5", "take must be a whole number from 1 to 100"),
        ("take=5&take=6", "take must be given once"),
        ("name=a&name=a", "name must be given once"),
        ("n%61me=a&name=a", "name must be given once"),
        ("status=active", "status must be one of ACTIVE, BLACKLISTED, DEACTIVATED"),
        ("phone=none", "phone must have a digit"),
        ("id=1", "id must be a UUID"),
        ("archived=yes", "archived must be one of true, false"),
        ("total=some", "total must be one of exact, estimate, none"),
        ("cursor=1", "cursor must be * or a next_cursor of an earlier answer"),
        ("cursor=%2A%2A", "cursor must be * or a next_cursor of an earlier answer"),
        ("cursor=*&skip=1", "skip must not be given with a cursor"),
        ("name=%00", "name must be percent-encoded UTF-8 text without U+0000"),
        ("name=%FF", "name must be percent-encoded UTF-8 text without U+0000"),
        ("email=%C3", "email must be percent-encoded UTF-8 text without U+0000"),
    ]

    @Test("what can't be meant is a 400 that names the parameter", arguments: refusals)
    func refused(query: String, message: String) async throws {
        let tenant = try await Stage.current.tenant(role: "viewer")

        let answer = try await tenant.send(HTTPCall("GET", "\(Self.path)?\(query)", headers: tenant.key.headers))

        #expect(answer.status == 400)
        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
    }
}
