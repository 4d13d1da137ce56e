import Foundation
import LibPQ
import TestSupport
import Testing

/// What operators read: who asked what and how it went, and nothing about anybody.
@Suite("The logs of the service and of PostgreSQL", .serialized, .stages)
struct LogTests {
    @Test("hold no secret and no personal data, at level trace, however requests end")
    func nothingPersonal() async throws {
        let stage = try await Stage.open(
            ["LOG_LEVEL": "trace", "CUSTOMERD_RESTORE_DAYS": "1", "CUSTOMERD_RATE_LIMIT": "1000"], in: .ownCluster())
        let (database, service) = (stage.database, stage.service)
        let cluster = database.cluster
        let tenant = try await stage.tenant()
        let person = Person()
        let personal: [(name: String, value: String)] = [
            ("x-audit-reason", person.reason), ("x-actor-id", person.marks[2]), ("user-agent", person.marks[0]),
        ]
        let record = """
            {"first_name":"\(person.marks[0])","last_name":"\(person.marks[1])","email":"\(person.marks[2])",\
            "phone_number":"\(person.customer.phoneNumber)"}
            """
        let requestID = newID()

        // Every write, each ending in every way that it can.
        var statuses: Set<Int> = []
        for operation in Operation.all {
            let subject = try await operation.subject(of: tenant)
            for (body, key) in [(operation.body(subject.id), newID()), (record, newID()), ("\(person.marks)", newID())]
            {
                let headers = personal + [("x-request-id", requestID)]
                for _ in 1...2 {  // the second is replayed, or a conflict
                    let answer = try await tenant.ask(
                        operation.method, operation.path(subject.id), body, key: key, headers: headers)
                    statuses.insert(answer.status)
                }
            }
        }
        // Another request under a key.
        let key = newID()
        for status in ["ACTIVE", "BLACKLISTED"] {
            let body = record.replacing("}", with: ",\"status\":\"\(status)\"}")
            statuses.insert(try await tenant.ask("POST", "", body, key: key, headers: personal).status)
        }
        // A refusal, a search by name, a stranger, a path that isn't there.
        try await tenant.insert(person.customer)
        try await tenant.insertDependent("invoices", of: person.id)
        statuses.insert(try await tenant.delete(person.id, headers: personal).status)
        for query in ["name=\(person.marks[0])", "email=\(person.marks[2])", "status=\(person.marks[1])"] {
            statuses.insert(try await tenant.ask("GET", "?\(query)").status)
        }
        statuses.insert(try await tenant.ask("GET", "/\(person.id)/export").status)
        statuses.insert(try await tenant.send(HTTPCall("GET", "/\(person.marks[0])?x=\(person.marks[1])")).status)
        var stranger = tenant.key
        stranger.secret = "cs_\(newID())"
        SecretLedger.shared.note(stranger.secret)
        statuses.insert(try await tenant.with(stranger).delete(person.id, headers: personal).status)
        #expect(statuses.isSuperset(of: [200, 201, 400, 401, 404, 409, 422]), "\(statuses)")
        let ordinary = cluster.log

        // A failure whose message and detail show the row: that is PostgreSQL's to log, not the service's.
        try await database.run(
            "ALTER TABLE customers ADD CONSTRAINT nobody_changes CHECK (last_name <> '\(person.marks[3])') NOT VALID")
        let failed = try await tenant.ask(
            "PATCH", "/\(person.id)", #"{"last_name":"\#(person.marks[3])"}"#, headers: personal)
        #expect(failed.status == 500)

        service.terminate()
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
        #expect(service.log.contains(requestID), "the log tells of each request")
        #expect(ordinary.contains("foreign key constraint"), "PostgreSQL's log is the one that was read")
        for log in [service.log, ordinary] {
            #expect(person.traces(in: log) == [])
            #expect(SecretLedger.shared.leaks(in: log) == [])
        }
    }
}
