import ChaosJudge
import Foundation
import LibPQ
import TestSupport

/// Where a run takes place: a cluster that flushes to disk, two instances of the service, one of them behind a gate, and
/// some apps with a few customers each.
struct Arena: Sendable {
    struct App: Sendable {
        var id: String
        /// One for each instance, so that not even the rate limit makes two of them take turns.
        var keys: [Tenant.Key]
    }

    static let appCount = 3

    let cluster: PrivateCluster
    let database: TestDatabase
    let gate: TCPGate
    let instances: [Instance]
    let apps: [App]
    let initial: [Subject: CustomerRecord]
    let roster: Roster

    /// - Parameter seed: decides the ids, so that they are the same in every run.
    static func open(seed: UInt64) async throws -> Arena {
        let cluster = try await aside { try PrivateCluster(settings: ["fsync = on"]) }
        let database = try await TestDatabase.migrated(in: cluster)
        guard let socketPath = cluster.socketPath else { throw NeverHappened("the cluster had a socket") }
        let gate = try TCPGate(before: socketPath)
        let settings = [
            "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "3", "CUSTOMERD_RESTORE_DAYS": "30", "CUSTOMERD_POOL_SIZE": "6",
            "CUSTOMERD_RATE_LIMIT": "100", "CUSTOMERD_RATE_WINDOW_SECONDS": "5", "LOG_LEVEL": "warning",
        ]
        let gated = "postgresql://customerd_service@127.0.0.1:\(gate.port)/\(database.name)?sslmode=disable"
        let instances = [
            Instance(name: "0", database: database, settings: settings),
            Instance(name: "1", database: database, settings: settings.merging(["DATABASE_URL": gated]) { $1 }),
        ]
        for instance in instances { try await instance.start() }

        var generator = SeededGenerator(seed: seed ^ 0xA9E4_A000)
        var apps: [App] = []
        var initial: [Subject: CustomerRecord] = [:]
        var places: [[String]] = []
        for _ in 0..<appCount {
            var app = App(id: generator.id(), keys: [])
            for instance in instances {
                app.keys.append(try await database.createKey(app: app.id, name: "instance \(instance.name)"))
            }
            apps.append(app)
            var customers: [String] = []
            for _ in 0..<Step.places {
                let customer = generator.id()
                customers.append(customer)
                let record = try await insert(PersonalData(mark: generator.mark()), as: customer, of: app.id, database)
                initial[Subject(app: app.id, id: customer)] = record
            }
            places.append(customers)
        }
        return Arena(
            cluster: cluster, database: database, gate: gate, instances: instances, apps: apps, initial: initial,
            roster: Roster(places: places))
    }

    private static func insert(
        _ person: PersonalData, as customer: String, of app: String, _ database: TestDatabase
    ) async throws -> CustomerRecord {
        let text = try await database.value(
            """
            WITH c AS (
                INSERT INTO customers
                    (app_id, id, first_name, last_name, email, phone_number, last_spent, last_purchase_date)
                VALUES ($1, $2, $3, $4, $5, $6, 150.70, '2024-01-15T10:30:00.000001Z')
                RETURNING *)
            SELECT service.record(ROW(c.*)) FROM c
            """,
            [
                .text(app), .text(customer), .text(person.firstName), .text(person.lastName), .text(person.email),
                .text(person.phoneNumber),
            ]
        )
        guard let text, let record = CustomerRecord(text: text) else { throw NeverHappened("a record was a record") }
        return record
    }

    /// Ends what still runs.
    ///
    /// - Returns: what must hold whatever happened, as after every test, and doesn't; nothing is right.
    func close() async throws -> [String] {
        var logs: [String] = []
        for instance in instances {
            await instance.terminate()
            logs.append(await instance.log)
        }
        let problems = try await database.brokenInvariants(logs: logs)
        await database.closeSessions()
        try await aside { try cluster.remove() }
        return problems
    }
}
