import LibPQ
import TestSupport
import Testing

/// The example clients against a service that can't answer at once.
@Suite("Clients", .stages)
struct ClientTests {
    private func expectDeletion(_ client: ChildProcess, of customer: CustomerFixture, _ tenant: Tenant) async throws {
        #expect(await client.exitStatus(within: .seconds(60)) == 0, "\(client.errors)")
        #expect(client.output.split(separator: "\n") == [customer.record(app: tenant.app)[...]])
        #expect(try await !tenant.hasCustomer(customer.id))
        let outcomes = try await tenant.entries(about: customer.id).compactMap { $0["outcome"] }
        #expect(outcomes.filter { $0 == "SUCCEEDED" }.count == 1, "\(outcomes)")
        #expect(!client.errors.contains(tenant.key.secret))
    }

    @Test("while the database is away they try again, and delete once", arguments: ExampleClient.allCases)
    func outage(_ client: ExampleClient) async throws {
        let stage = try await Stage.open(through: .gate)
        let gate = stage.gate
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        gate.refuse()
        gate.cut()

        let process = try await client.start(customer.id, key: tenant.key, port: tenant.service.port)
        guard let process else { return }
        try await process.waitToSay("the service answered 503; trying again")
        gate.release()

        try await expectDeletion(process, of: customer, tenant)
    }

    @Test(
        "while an earlier request with their key runs they wait, and get its answer", arguments: ExampleClient.allCases)
    func inProgress(_ client: ExampleClient) async throws {
        // The first request must still run when the slowest of the clients has started on a busy machine.
        let tenant = try await Stage.open(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]).tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let lock = try await tenant.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")
        async let first = tenant.delete(customer.id, idempotencyKey: key)
        try await eventually("the first request began") {
            try await tenant.database.value(
                "SELECT 1 FROM service.attempts WHERE idempotency_key = $1", [.text(key)]) != nil
        }

        let process = try await client.start(
            customer.id, key: tenant.key, port: tenant.service.port, idempotencyKey: key)
        try await process?.waitToSay("the service answered 409; trying again")
        try await lock.rollBack()

        #expect(try await first.status == 200)
        if let process { try await expectDeletion(process, of: customer, tenant) }
    }

    @Test(
        "over the rate limit they wait as long as they are told, not longer and not less",
        arguments: ExampleClient.allCases)
    func rateLimit(_ client: ExampleClient) async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "3", "CUSTOMERD_RATE_WINDOW_SECONDS": "8"])
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        for _ in 1...3 {
            let call = HTTPCall("GET", "/api/v0/customers/\(customer.id)", headers: tenant.key.headers)
            #expect(try await tenant.send(call).status == 200)
        }

        let process = try await client.start(customer.id, key: tenant.key, port: tenant.service.port)
        guard let process else { return }
        try await process.waitToSay("the service answered 429; trying again")

        try await expectDeletion(process, of: customer, tenant)
        #expect(process.retries == 1, "\(process.errors)")
    }

    @Test("while no service listens they try again", arguments: ExampleClient.allCases)
    func noListener(_ client: ExampleClient) async throws {
        let stage = try await Stage.open(isStarted: false)
        let port = RunningService.freePort()
        let key = try await stage.database.createKey(app: newID())

        guard let process = try await client.start(newID(), key: key, port: port) else { return }
        try await process.waitToSay("there was no answer")
        try await stage.restart(port: port)

        #expect(await process.exitStatus(within: .seconds(60)) == 1, "\(process.errors)")
        #expect(process.output.hasPrefix(HTTPAnswer.error(404, "Customer not found", "Not Found")))
    }

    @Test("a refusal is final", arguments: ExampleClient.allCases)
    func final(_ client: ExampleClient) async throws {
        let tenant = try await Stage.open().tenant()
        let referenced = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: referenced.id)
        var stranger = tenant.key
        stranger.secret = "cs_wrong"
        let cases = [
            (newID(), tenant.key, #"{"statusCode":404,"message":"Customer not found","#),
            (referenced.id, tenant.key, #"{"statusCode":400,"message":"Customer cannot be deleted.","#),
            ("no-uuid", tenant.key, #"{"statusCode":400,"message":"Validation failed (uuid is expected)","#),
            (newID(), stranger, #"{"statusCode":401,"#),
        ]

        for (customer, key, body) in cases {
            guard let process = try await client.start(customer, key: key, port: tenant.service.port) else { return }

            #expect(await process.exitStatus(within: .seconds(60)) == 1, "\(process.errors)")
            #expect(process.output.hasPrefix(body), "\(process.output)")
            #expect(process.retries == 0)
        }
        #expect(try await tenant.entries().count == 3)
    }

    @Test("past their deadline they give up, and say with which key to go on", arguments: ExampleClient.allCases)
    func deadline(_ client: ExampleClient) async throws {
        let key = Tenant.Key(clientKey: "ck_any", secret: "cs_any", app: newID(), role: "admin")
        let idempotencyKey = newID()

        let process = try await client.start(
            newID(), key: key, port: RunningService.freePort(), seconds: 2, idempotencyKey: idempotencyKey)
        guard let process else { return }

        #expect(await process.exitStatus(within: .seconds(30)) == 75)
        #expect(process.errors.contains(idempotencyKey))
        #expect(process.output.isEmpty)
    }

    @Test("used wrongly they say how to use them", arguments: ExampleClient.allCases)
    func usage(_ client: ExampleClient) async throws {
        let key = Tenant.Key(clientKey: "", secret: "", app: newID(), role: "admin")

        guard let process = try await client.start("", key: key, port: 1) else { return }

        #expect(await process.exitStatus(within: .seconds(30)) == 2)
        #expect(process.errors.contains("CUSTOMER_ID"))
    }
}
