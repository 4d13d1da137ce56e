import LibPQ
import TestSupport
import Testing

/// The moments of a redaction: its entry comes first, batches follow, and whatever is killed in between is resumed.
@Suite("A redaction whose service is killed", .serialized, .stages)
struct RedactionCrashTests {
    /// A person with a history, a service that stops at failpoints, and another one.
    private struct Scene {
        let stage: Stage
        let tenant: Tenant
        let person: Person
        let other: RunningService
        let patchKey: String
        let bulkKey: String

        func redact(key: String) async -> HTTPAnswer? {
            try? await tenant.post("redact", person.id, key: key)
        }

        /// What the API shows of the person, through the other instance.
        func readers() async throws -> [(name: String, body: String)] {
            let reader = tenant.through(other)
            let entries = try await tenant.entries(about: person.id)
            var answers = [
                ("list", try await reader.get("/api/v0/audit?customer_id=\(person.id)&limit=100")),
                ("record", try await reader.read(person.id).body),
                ("export", try await reader.ask("GET", "/\(person.id)/export").body),
                ("replay", try await reader.patch(person.id, #"{"customer_type":"Startup"}"#, key: patchKey).body),
                ("bulk", try await reader.bulkDelete([person.id], dryRun: true, key: bulkKey).body),
                ("restore", try await reader.post("restore", person.id).body),
            ]
            for entry in entries {
                answers.append(("entry", try await reader.get("/api/v0/audit/\(entry["id"] ?? "")")))
            }
            return answers
        }

        func expectNothingShown(sourceLocation: SourceLocation = #_sourceLocation) async throws {
            for (name, body) in try await readers() {
                #expect(person.traces(in: body) == [], "\(name)", sourceLocation: sourceLocation)
            }
        }

        func expectAllErased(sourceLocation: SourceLocation = #_sourceLocation) async throws {
            try await eventually("all of it was erased", within: .seconds(40)) {
                try await stage.database.value(
                    "SELECT is_erased FROM service.redactions WHERE customer_id = $1", [.text(person.id)]) == "t"
            }
            try await stage.expectNoTrace(of: person, sourceLocation: sourceLocation)
            let redactions = try await tenant.entries(about: person.id).filter {
                $0["action"] == "customer.redact" && $0["outcome"] == "SUCCEEDED"
            }
            #expect(redactions.count == 1, sourceLocation: sourceLocation)
            #expect(try await Trail.verify(stage.database).isClean, sourceLocation: sourceLocation)
        }
    }

    private func scene() async throws -> Scene {
        let stage = try await Stage.open(
            [
                "CUSTOMERD_RATE_LIMIT": "1000000", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "3",
                "CUSTOMERD_RESTORE_DAYS": "30",
            ], failpoints: try Failpoints())
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let scene = Scene(
            stage: stage, tenant: tenant, person: person, other: try await stage.secondService(), patchKey: newID(),
            bulkKey: newID())
        _ = try await tenant.patch(person.id, #"{"customer_type":"Startup"}"#, key: scene.patchKey)
        _ = try await tenant.bulkDelete([person.id], dryRun: true, key: scene.bulkKey)
        _ = try await tenant.patch(person.id, #"{"status":"ACTIVE"}"#, ifMatch: "\"old\"")
        try await tenant.insertDependent("invoices", of: person.id)
        _ = try await tenant.delete(person.id, headers: [("x-audit-reason", person.reason)])
        #expect(try await scene.readers().filter { !person.traces(in: $0.body).isEmpty }.count > 5)
        return scene
    }

    @Test(
        "is finished by any other, and no reader sees anything from the first moment",
        arguments: ["worked", "before append", "before erase", "answered erase"])
    func killed(moment: String) async throws {
        let scene = try await scene()
        let key = newID()
        try scene.stage.failpoints.arm(moment)

        async let lost = scene.redact(key: key)
        try await scene.stage.failpoints.reach(moment)
        try await scene.expectNothingShown()
        await scene.stage.service.kill()
        #expect(await lost == nil)

        try await scene.expectNothingShown()
        try await scene.expectAllErased()
        let replay = try await scene.tenant.through(scene.other).post("redact", scene.person.id, key: key)
        #expect(replay.status == 200)
        #expect(replay["idempotent-replayed"] == "true")
    }

    @Test("before it has committed has done nothing, and its key is free again")
    func killedBefore() async throws {
        let scene = try await scene()
        let key = newID()
        try scene.stage.failpoints.arm("before enter")

        async let lost = scene.redact(key: key)
        try await scene.stage.failpoints.reach("before enter")
        await scene.stage.service.kill()
        #expect(await lost == nil)

        let read = try await scene.tenant.through(scene.other).read(scene.person.id)
        #expect(!scene.person.traces(in: read.body).isEmpty)
        try await eventually("it was done", within: .seconds(40)) {
            try await scene.tenant.through(scene.other).post("redact", scene.person.id, key: key).status == 200
        }
        try await scene.expectAllErased()
    }
}

extension Tenant {
    fileprivate func get(_ path: String) async throws -> String {
        try await send(HTTPCall("GET", path, headers: key.headers)).body
    }
}
