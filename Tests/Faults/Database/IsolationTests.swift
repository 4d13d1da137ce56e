import LibPQ
import TestSupport
import Testing

@Suite("A role whose default isolation is another", .serialized, .stages)
struct IsolationTests {
    @Test("makes no request fail: the service sets what it needs", arguments: ["repeatable read", "serializable"])
    func defaults(isolation: String) async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_RATE_LIMIT": "1000000"],
            prepare: """
                DO $$ BEGIN
                    EXECUTE format(
                        'ALTER ROLE customerd_service IN DATABASE %I SET default_transaction_isolation = %L',
                        current_database(), '\(isolation)');
                END $$
                """)
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 20)

        let statuses = try await simultaneously(60) { number in
            let customer = customers[number % 4]
            return switch number % 4 {
            case 0: try await tenant.patch(customer, #"{"first_name":"N\#(number)"}"#).status
            case 1: try await tenant.setStatus(customer, number.isMultiple(of: 8) ? "ACTIVE" : "BLACKLISTED").status
            case 2: try await tenant.delete(customers[4 + number % 16]).status
            default: try await tenant.read(customer).status
            }
        }

        #expect(Set(statuses).isSubset(of: [200, 404]))
        #expect(!stage.service.log.contains("40001"))
        #expect(stage.service.log.contains("default_transaction_isolation is set to \(isolation)"))
    }
}
