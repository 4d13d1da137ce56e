import LibPQ
import TestSupport
import Testing

@Suite("Who may write what", .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "30"]))
struct PermissionTests {
    let stage = Stage.current

    @Test(
        "each role does what it holds the permission for, and nothing else", arguments: Operation.all, KeyRole.allCases)
    func roles(operation: Operation, role: KeyRole) async throws {
        let admin = try await stage.tenant()
        let subject = try await operation.subject(of: admin)
        let before = try await rows(of: admin)
        let tenant = admin.with(try await stage.database.createKey(app: admin.app, role: role.rawValue))

        let answer = try await operation.ask(tenant, about: subject.id)

        let entry = try await tenant.entries().last
        #expect(entry?["action"] == operation.action)
        #expect(entry?["actor_role"] == role.rawValue)
        if role.permissions.contains(operation.permission) {
            #expect(answer.status == operation.status)
            #expect(entry?["outcome"] == "SUCCEEDED")
        } else {
            #expect(answer.body == HTTPAnswer.error(403, "Insufficient permissions", "Forbidden"))
            #expect(entry?["outcome"] == "FORBIDDEN")
            #expect(try await rows(of: admin) == before)
        }
    }

    @Test("nothing is done without credentials", arguments: Operation.all)
    func stranger(operation: Operation) async throws {
        let admin = try await stage.tenant()
        let subject = try await operation.subject(of: admin)
        let before = try await rows(of: admin)
        var key = admin.key
        key.secret = "cs_\(newID())"

        let answer = try await operation.ask(admin.with(key), about: subject.id)

        #expect(answer.body == HTTPAnswer.error(401, "Invalid API credentials", "Unauthorized"))
        #expect(try await rows(of: admin) == before)
        let entries = try await stage.database.entries(requestID: answer["x-request-id"] ?? "")
        #expect(entries.map { $0["outcome"] } == ["UNAUTHENTICATED"])
        #expect(entries.map { $0["action"] } == [operation.action])
    }

    @Test("a 403 comes before a 400, and neither is kept", arguments: Operation.all)
    func order(operation: Operation) async throws {
        let admin = try await stage.tenant()
        let viewer = admin.with(try await stage.database.createKey(app: admin.app, role: "viewer"))
        let subject = try await operation.subject(of: admin)
        let key = newID()
        let tooLong = [(name: "x-actor-id", value: String(repeating: "a", count: 201))]
        let (path, body) = (operation.path(subject.id), operation.body(subject.id))

        let forbidden = try await viewer.ask(operation.method, path, body, key: key, headers: tooLong)
        let invalid = try await admin.ask(operation.method, path, body, key: key, headers: tooLong)
        let done = try await admin.ask(operation.method, path, body, key: key)

        #expect([forbidden, invalid, done].map(\.status) == [403, 400, operation.status])
        #expect(invalid.body.contains("x-actor-id"))
        #expect(done["idempotent-replayed"] == nil)
    }

    @Test("another app's customer looks like none", arguments: Operation.onCustomer)
    func foreignCustomer(operation: Operation) async throws {
        let (owner, tenant) = (try await stage.tenant(), try await stage.tenant())
        let subject = try await operation.subject(of: owner)
        let before = try await rows(of: owner)

        let foreign = try await operation.ask(tenant, about: subject.id)
        let unknown = try await operation.ask(tenant, about: newID())

        #expect(foreign.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        #expect(foreign.body == unknown.body)
        #expect(foreign.headers.map(\.name) == unknown.headers.map(\.name))
        #expect(try await rows(of: owner) == before)
        let entries = try await tenant.entries()
        #expect(entries.map { $0["outcome"] } == ["NOT_FOUND", "NOT_FOUND"])
        #expect(entries.map { $0["action"] } == [operation.action, operation.action])
        #expect(entries[0]["before_image"] == nil)
    }

    @Test("another app's customer looks like none in bulk too", arguments: [true, false])
    func foreignCustomerInBulk(isDryRun: Bool) async throws {
        let (owner, tenant) = (try await stage.tenant(), try await stage.tenant())
        let theirs = try await owner.insert()

        let answer = try await tenant.bulkDelete([theirs.id], dryRun: isDryRun)

        #expect(try BulkResults(answer).statuses == [404])
        #expect(try await owner.hasCustomer(theirs.id))
    }

    @Test("two apps may have a customer of the same id, and each changes its own", arguments: Operation.onCustomer)
    func sameID(operation: Operation) async throws {
        let (owner, tenant) = (try await stage.tenant(), try await stage.tenant())
        let subject = try await operation.subject(of: owner)
        try await tenant.insert(CustomerFixture { $0.id = subject.id })
        let before = try await rows(of: owner)

        _ = try await operation.ask(tenant, about: subject.id)

        #expect(try await rows(of: owner) == before)
    }

    @Test("a path without UUID is a 400 that says so", arguments: Operation.onCustomer)
    func malformedPath(operation: Operation) async throws {
        let tenant = try await stage.tenant()

        let answer = try await operation.ask(tenant, about: "no-uuid")

        #expect(answer.body == HTTPAnswer.error(400, "Validation failed (uuid is expected)", "Bad Request"))
        #expect(try await tenant.outcomes() == ["INVALID"])
    }

    /// All columns of all customers of an app.
    private func rows(of tenant: Tenant) async throws -> [String] {
        try await stage.database.rows(
            "SELECT c::text AS row FROM customers AS c WHERE app_id = $1 ORDER BY id", [.text(tenant.app)]
        ).compactMap { $0["row"] }
    }
}
