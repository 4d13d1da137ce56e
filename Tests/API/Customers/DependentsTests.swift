import TestSupport
import Testing

@Suite("The records of a customer", .unlimitedStage())
struct DependentsTests {
    static let kinds: [(path: String, table: String, values: [String: String], middle: String)] = [
        (
            "invoices", "invoices",
            [
                "invoice_number": "'R-1'", "status": "'paid'", "amount": "9999999999999999.90",
                "due_date": "'2025-02-28'",
            ],
            #""invoice_number":"R-1","status":"paid","amount":9999999999999999.90,"currency":"USD","#
                + #""due_date":"2025-02-28""#
        ),
        (
            "payment-links", "payment_links",
            ["url": "'https://pay/1'", "amount": "1.5", "expires_at": "'2025-01-01T01:00:00.25+01'"],
            #""url":"https://pay/1","status":"active","amount":1.50,"currency":"USD","#
                + #""expires_at":"2025-01-01T00:00:00.25Z""#
        ),
        (
            "transactions", "transactions",
            ["kind": "'refund'", "amount": "-0.01", "occurred_at": "'2024-12-31T23:59:59Z'"],
            #""kind":"refund","status":"settled","amount":-0.01,"currency":"USD","occurred_at":"2024-12-31T23:59:59Z""#
        ),
        (
            "liquidation-addresses", "liquidation_addresses", ["address": "'0xabc'"],
            #""chain":"ethereum","currency":"usdc","address":"0xabc""#
        ),
    ]

    @Test("a record has its members in order, amounts digit by digit, times in UTC", arguments: kinds.indices)
    func record(index: Int) async throws {
        let (path, table, values, middle) = Self.kinds[index]
        let tenant = try await Stage.current.tenant(role: "viewer")
        let customer = try await tenant.insert()
        let id = newID()
        let times = ["id": "'\(id)'", "created_at": "'2025-01-01Z'"]
            .merging(table == "transactions" ? [:] : ["updated_at": "'2025-01-02Z'"]) { $1 }
        try await tenant.insertDependent(table, of: customer.id, values.merging(times) { $1 })

        let answer = try await tenant.get("/api/v0/customers/\(customer.id)/\(path)")

        let updated = table == "transactions" ? "" : #","updatedAt":"2025-01-02T00:00:00Z""#
        let record =
            #"{"id":"\#(id)","customer_id":"\#(customer.id)",\#(middle),"appId":"app_\#(tenant.app)","#
            + #""createdAt":"2025-01-01T00:00:00Z"\#(updated)}"#
        #expect(answer.status == 200)
        #expect(answer.body == #"{"data":[\#(record)],"total":1,"skip":0,"take":10}"#)
    }

    @Test("they come newest first, page by page, and only the customer's own", arguments: kinds.indices)
    func pages(index: Int) async throws {
        let (path, table, _, _) = Self.kinds[index]
        let tenant = try await Stage.current.tenant()
        let other = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        let neighbour = try await tenant.insert()
        try await other.insert(CustomerFixture { $0.id = customer.id })
        try await other.insertDependent(table, of: customer.id)
        try await tenant.insertDependent(table, of: neighbour.id)
        for day in 1...5 {
            try await tenant.insertDependent(table, of: customer.id, ["created_at": "'2025-01-0\(day)Z'"])
        }

        let page = try await tenant.get(
            "/api/v0/customers/\(customer.id)/\(path)", [("skip", "1"), ("take", "2")])

        #expect(try page.column("createdAt") == ["2025-01-04T00:00:00Z", "2025-01-03T00:00:00Z"])
        #expect(page.body.hasSuffix(#","total":5,"skip":1,"take":2}"#))
    }

    @Test("an unknown customer is a 404, a bad page a 400", arguments: kinds.indices)
    func refusals(index: Int) async throws {
        let path = Self.kinds[index].path
        let tenant = try await Stage.current.tenant()
        let other = try await Stage.current.tenant()
        let stranger = try await other.insert()

        for id in [newID(), stranger.id] {
            #expect(try await tenant.get("/api/v0/customers/\(id)/\(path)").message == "Customer not found")
        }
        #expect(
            try await tenant.get("/api/v0/customers/x/\(path)").message == "Validation failed (uuid is expected)")
        #expect(
            try await tenant.get("/api/v0/customers/\(newID())/\(path)", [("take", "0")]).message
                == "take must be a whole number from 1 to 100")
    }
}
