import Foundation
import LibPQ
import TestSupport
import Testing

/// The planner of PostgreSQL goes by samples of the columns, which stay until the next ANALYZE.
@Suite("What the planner remembers", .stages)
struct SampleTests {
    /// The samples of all columns of a table, or of all other tables.
    private func samples(_ stage: Stage, of customers: Bool) async throws -> String {
        try await stage.database.value(
            """
            SELECT coalesce(string_agg(s::text, E'\\n'), '')
            FROM pg_stats AS s
            WHERE schemaname IN ('public', 'audit', 'service') AND (tablename LIKE 'customers%') = $1
            """, [.bool(customers)]) ?? ""
    }

    @Test("is nothing of what a deletion or a redaction erases, and of customers nothing that a day has passed over")
    func erased() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RESTORE_DAYS": "1"])
        let tenant = try await stage.tenant()
        let people = (0..<6).map { _ in Person() }
        for person in people {
            try await tenant.insert(person.customer)
            let (id, reason) = (person.id, person.reason)
            let headers = [("x-audit-reason", reason), ("x-actor-id", person.marks[0])]
            #expect(try await tenant.ask("PUT", "/\(id)/hold", #"{"reason":"\#(reason)"}"#).status == 200)
            #expect(try await tenant.delete(id, headers: headers).status == 400)
            let tomorrow = Date.now.addingTimeInterval(86400).ISO8601Format()
            let scheduling = #"{"at":"\#(tomorrow)","reason":"\#(reason)"}"#
            #expect(try await tenant.ask("PUT", "/\(id)/scheduled-deletion", scheduling).status == 202)
            #expect(try await tenant.startBulk([newID()], reason: reason).status == 202)
        }
        let gone = people.prefix(3)
        for person in gone {
            #expect(try await tenant.ask("DELETE", "/\(person.id)/hold").status == 200)
            #expect(try await tenant.delete(person.id, headers: [("x-audit-reason", person.reason)]).status == 200)
        }

        try await stage.database.run("ANALYZE")
        let (others, ofCustomers) = (try await samples(stage, of: false), try await samples(stage, of: true))
        #expect(people.flatMap { $0.traces(in: others) } == [])
        // They are kept of those who are customers, as the planner needs them.
        #expect(people.allSatisfy { $0.traces(in: ofCustomers).isEmpty } == false)

        for person in people.suffix(3) {
            #expect(try await tenant.ask("DELETE", "/\(person.id)/hold").status == 200)
            #expect(try await tenant.post("redact", person.id).status == 200)
        }
        try await eventually("the samples were renewed") {
            try await stage.database.value("SELECT service.forget_samples('0 s')") == "t"
        }
        let left = try await samples(stage, of: true)
        #expect(people.flatMap { $0.traces(in: left) } == [])
    }

    @Test("is renewed by an instance that starts, unless it is younger than a day or nothing has changed")
    func renewed() async throws {
        let stage = try await Stage.open(isStarted: false)
        let tenant = Tenant(
            database: stage.database, service: try await stage.secondService(),
            key: try await stage.database.createKey(app: newID()))
        let analyzed =
            "SELECT max(last_analyze)::text FROM pg_stat_all_tables WHERE relid = 'public.customers'::regclass"
        try await eventually("customers were analyzed") { try await stage.database.value(analyzed) != nil }

        try await tenant.insert()
        try await stage.database.run("SELECT pg_stat_force_next_flush()")
        try await eventually("the change was counted") {
            try await stage.database.value(
                "SELECT n_mod_since_analyze > 0 FROM pg_stat_all_tables WHERE relid = 'public.customers'::regclass")
                == "t"
        }
        #expect(try await stage.database.value("SELECT service.forget_samples('1 h')") == "f")
        #expect(try await stage.database.value("SELECT service.forget_samples('0 s')") == "t")
        #expect(try await stage.database.value("SELECT service.forget_samples('0 s')") == "f")
    }
}
