import TestSupport
import Testing

/// Route → 401 → 429 → 403 → 400 → idempotency → unit of work: the first that fails answers.
@Suite("The order of the checks", .stage(["CUSTOMERD_RATE_LIMIT": "2", "CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1"]))
struct CheckOrderTests {
    let stage = Stage.current

    @Test("an unknown route is a 404 before the credentials are looked at")
    func routeFirst() async throws {
        let answer = try await HTTPCall("GET", "/api/v0/nothing").send(to: stage.service.port)

        #expect(answer.status == 404)
        #expect(answer.body == #"{"statusCode":404,"message":"Cannot GET /api/v0/nothing","error":"Not Found"}"#)
    }

    @Test("a bad id with a wrong secret is a 401")
    func credentialsBeforeValidation() async throws {
        let tenant = try await stage.tenant()
        var key = tenant.key
        key.secret = "cs_wrong-\(newID())"

        let answer = try await tenant.with(key).delete("no-uuid", idempotencyKey: nil)

        #expect(answer.status == 401)
    }

    @Test("over the limit comes before the permission and before the validation")
    func limitBeforePermission() async throws {
        let tenant = try await stage.tenant(role: "viewer")

        var statuses: [Int] = []
        for id in [newID(), newID(), newID(), "no-uuid"] {
            statuses.append(try await tenant.delete(id).status)
        }

        #expect(statuses == [403, 403, 429, 429])
        #expect(
            try await tenant.entries().map { $0["outcome"] } == [
                "FORBIDDEN", "FORBIDDEN", "RATE_LIMITED", "RATE_LIMITED",
            ]
        )
    }

    @Test("the permission comes before the validation")
    func permissionBeforeValidation() async throws {
        let tenant = try await stage.tenant(role: "editor")

        let answer = try await tenant.delete("no-uuid", idempotencyKey: nil)

        #expect(answer.status == 403)
    }

    @Test("a wrong secret spends nothing of the key's budget")
    func strangersSpendNothing() async throws {
        let tenant = try await stage.tenant()
        var wrong = tenant.key
        wrong.secret = "cs_wrong-\(newID())"

        for _ in 1...5 {
            #expect(
                try await tenant.with(wrong).delete(newID(), headers: [("x-forwarded-for", "198.51.100.7")]).status
                    == 401)
        }
        let answer = try await tenant.delete(newID())

        #expect(answer.status == 404)
        #expect(answer["x-ratelimit-remaining"] == "1")
    }

    @Test("the validation comes before the idempotency: a bad request under a used key is a 400, not a 422")
    func validationBeforeIdempotency() async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        let first = try await tenant.delete(newID(), idempotencyKey: key)
        let second = try await tenant.delete("no-uuid", idempotencyKey: key)

        #expect(first.status == 404)
        #expect(second.status == 400)
        #expect(second.body.contains("uuid is expected"))
    }
}
