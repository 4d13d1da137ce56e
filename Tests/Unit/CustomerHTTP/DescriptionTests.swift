import Foundation
import HTTPTypes
import LibPQ
import Logging
import Testing

@testable import CustomerHTTP
@testable import Customers

/// The description says what is served; Tests/System/schemathesis checks that it is true.
@Suite("openapi.json")
struct DescriptionTests {
    private let document: [String: Any]

    init() throws {
        document = try #require(
            try JSONSerialization.jsonObject(with: Data(OpenAPI.document.utf8)) as? [String: Any])
    }

    @Test("every operation that is served is described, and no other")
    func operations() throws {
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        let described = paths.flatMap { path, item in
            item.keys.filter { $0 != "parameters" }.map { "\($0.uppercased()) \(path)" }
        }

        let served = Self.api.routes.map { "\($0.method.rawValue) \($0.path)" }

        #expect(Set(described).symmetricDifference(served).sorted() == [])
        #expect(described.count == served.count)
    }

    @Test("each operation needs the permissions that its description names, and no other operation needs any")
    func permissions() throws {
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        var described: [String: Set<String>] = [:]
        for (path, item) in paths {
            for (method, operation) in item {
                let text = (operation as? [String: Any])?["description"] as? String ?? ""
                guard let needed = text.firstMatch(of: /Needs ([^.]*)\./)?.1 else { continue }
                described["\(method.uppercased()) \(path)"] = Set(needed.matches(of: /\w+:\w+/).map { String($0.0) })
            }
        }

        let reads = Self.operations.reads.map { ("\($0.method) \($0.path)", $0.permissions) }
        let writes = Self.operations.writes.map { ("\($0.method) \($0.path)", $0.permissions) }

        // What every key has isn't named.
        let needed = Dictionary(uniqueKeysWithValues: reads + writes).mapValues { permissions in
            Set(permissions.filter { $0 != .any }.map(\.rawValue))
        }
        #expect(described == needed)
    }

    @Test("operation ids are unique")
    func operationIDs() throws {
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        let ids = paths.values.flatMap { item in
            item.values.compactMap { ($0 as? [String: Any])?["operationId"] as? String }
        }

        #expect(Set(ids).count == ids.count)
        #expect(ids.count == Self.api.routes.count)
    }

    @Test("closed lists and ranges are those of the code")
    func limits() throws {
        #expect(try value("schemas", "Outcome", "enum") as? [String] == Outcome.allCases.map(\.rawValue))
        #expect(try value("schemas", "Status", "enum") as? [String] == CustomerStatus.allCases.map(\.rawValue))
        #expect(
            try value("schemas", "BulkDeletion", "properties", "ids", "maxItems") as? Int == DeleteCustomers.mostItems)
        #expect(
            try value("schemas", "NewBulkDeletion", "properties", "ids", "maxItems") as? Int
                == BulkDeletion.mostItems)
        #expect(try value("schemas", "ScheduleStatus", "enum") as? [String] == ScheduleStatus.allCases.map(\.rawValue))
        #expect(try value("schemas", "EventType", "enum") as? [String] == Event.types)
        #expect(try value("schemas", "BulkStatus", "enum") as? [String] == BulkStatus.allCases.map(\.rawValue))
        #expect(try range("Skip") == Page.skips)
        #expect(try range("Take") == Page.takes)
        #expect(try range("Limit") == AuditSearch.limits)
        #expect(try range("Limit") == EventSearch.limits)
        #expect(try range("After") == EventSearch.places)
        #expect(try range("Wait") == EventSearch.waits)
    }

    private func value(_ path: String...) throws -> Any? {
        let start: Any? = document["components"]
        return path.reduce(start) { ($0 as? [String: Any])?[$1] }
    }

    private func range(_ parameter: String) throws -> ClosedRange<Int> {
        let lower = try #require(try value("parameters", parameter, "schema", "minimum") as? Int)
        let upper = try #require(try value("parameters", parameter, "schema", "maximum") as? Int)
        return lower...upper
    }

    /// The interface over a pool that never connects.
    private static let (api, operations) = {
        let logger = Logger(label: "tests")
        let limits = Limits(
            rateLimit: 100, rateWindow: .seconds(60), idempotencyTTL: .seconds(86_400), requestTimeout: .seconds(10))
        let pool = ConnectionPool(settings: .init(), configuration: .init(), logger: logger)
        let givenUp = GivenUpAttempts()
        let admission = Admission(pool: pool, givenUp: givenUp, memory: CredentialMemory(), limits: limits)
        let feed = EventFeed(pool: pool, listenersPool: pool, limit: 1, logger: logger)
        let audit = AuditWriter(
            tenants: pool, strangers: pool, held: pool, substitute: pool, feed: feed, givenUp: givenUp, logger: logger)
        let execution = Execution(audit: audit, logger: logger)
        let operations = Operations(
            unitOfWork: UnitOfWork(pool: pool, givenUp: givenUp), execution: execution, pool: pool,
            givenUp: givenUp, restoreDays: 30, secrets: nil,
            webhookAddresses: WebhookAddresses(allowed: .none))
        let api = CustomerAPI(
            read: Read(
                admission: admission, execution: execution, pool: pool, feed: feed, webhooks: nil, logger: logger),
            write: Write(admission: admission, execution: execution, secrets: nil, logger: logger),
            operations: operations,
            limits: limits,
            proxies: TrustedProxies.none,
            isReady: { true },
            metrics: { "" }
        )
        return (api, operations)
    }()
}
