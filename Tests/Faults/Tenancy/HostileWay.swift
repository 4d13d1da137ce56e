import LibPQ
import TestSupport
import Testing

/// How a tenant hurts others, or what is broken of it.
enum HostileWay: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case heldHead = "its chain head is held by an open transaction"
    case lostHead = "its chain head is gone"
    case damagedHead = "its chain head is behind its entries"
    case openTransactions = "60 of its customers are held by an open transaction and deleted at the same time"
    case hugeCustomer = "a customer with 100,000 entries is being redacted"
    case strangers = "wrong credentials come from changing addresses"
    case rateLimited = "a key keeps sending requests over its limit"
    case exports = "everything is exported and listed again and again"

    var testDescription: String { rawValue }

    /// How many clients it has.
    private static let clients = 6

    /// Prepares it, before the measuring begins.
    func prepare(_ tenant: Tenant) async throws {
        _ = try await tenant.delete(newID())
        switch self {
        case .hugeCustomer: try await tenant.fill(customer, entries: 100_000)
        case .exports: try await tenant.fill(customer, entries: 3000)
        case .rateLimited:
            try await tenant.database.rows(
                "UPDATE service.rate_windows SET spent = 1000000 WHERE app_id = $1", [.text(tenant.app)])
        case .heldHead, .lostHead, .damagedHead, .openTransactions, .strangers: break
        }
    }

    private var customer: String { "cccccccc-0000-4000-8000-00000000000c" }

    /// Does it for a time.
    ///
    /// - Returns: what is wrong with what the hostile tenant itself was answered.
    func run(_ tenant: Tenant, for duration: Duration) async throws -> [String] {
        switch self {
        case .heldHead:
            let head = try await tenant.database.begin(
                "SELECT FROM audit.heads WHERE app_id = '\(tenant.app)' FOR UPDATE")
            let answers = try await clients(for: duration) { try await tenant.delete(newID()) }
            try await head.rollBack()
            return answers.unexpected([404, 503])
        case .lostHead:
            try await tenant.database.rows("DELETE FROM audit.heads WHERE app_id = $1", [.text(tenant.app)])
            return try await clients(for: duration) { try await tenant.delete(newID()) }.unexpected([503])
        case .damagedHead:
            try await tenant.database.rows(
                "UPDATE audit.heads SET seq = seq - 1 WHERE app_id = $1", [.text(tenant.app)])
            return try await clients(for: duration) { try await tenant.delete(newID()) }.unexpected([503])
        case .openTransactions: return try await holdCustomers(of: tenant, for: duration)
        case .hugeCustomer: return try await redact(tenant)
        case .strangers:
            return try await clients(for: duration) {
                let call = HTTPCall(
                    "DELETE", "/api/v0/customers/\(newID())",
                    headers: [
                        ("x-client-key", "ck_\(newID())"), ("x-client-secret", "cs_\(newID())"),
                        ("idempotency-key", newID()),
                        ("x-forwarded-for", "2001:db8:\(Self.group):\(Self.group)::1"),
                    ])
                return try await tenant.send(call)
            }.unexpected([401])
        case .rateLimited:
            return try await clients(for: duration) { try await tenant.delete(newID()) }.unexpected([429])
        case .exports:
            let paths = ["/\(customer)/export", "?take=100", "?take=100&name=doe"]
            return try await clients(for: duration) {
                try await tenant.ask("GET", paths.randomElement() ?? "")
            }.unexpected([200, 404])
        }
    }

    private static var group: String { String(UInt16.random(in: 0...(.max)), radix: 16) }

    private func clients(
        for duration: Duration, _ ask: @escaping @Sendable () async throws -> HTTPAnswer
    ) async throws -> [HTTPAnswer] {
        let end = ContinuousClock.now + duration
        return try await simultaneously(Self.clients) { _ in
            var answers: [HTTPAnswer] = []
            while ContinuousClock.now < end {
                answers.append(try await ask())
            }
            return answers
        }.flatMap { $0 }
    }

    private func holdCustomers(of tenant: Tenant, for duration: Duration) async throws -> [String] {
        let customers = try await tenant.insert(count: 60)
        let rows = customers.map { "('\(tenant.app)', '\($0)')" }.joined(separator: ",")
        let transaction = try await tenant.database.begin(
            "INSERT INTO invoices (app_id, customer_id) VALUES \(rows)")
        async let deletions = simultaneously(60) { try await tenant.delete(customers[$0]) }
        let slow = try await withThrowingTaskGroup(of: [String].self) { group in
            group.addTask {
                let end = ContinuousClock.now + duration
                var slow: [String] = []
                while ContinuousClock.now < end {
                    let start = ContinuousClock.now
                    let answer = try await tenant.read(customers[0])
                    let elapsed = ContinuousClock.now - start
                    if answer.status != 200 || elapsed > .seconds(1) {
                        slow.append("its own read was answered after \(elapsed): \(answer.status)")
                    }
                    try await Task.sleep(for: .milliseconds(100))
                }
                return slow
            }
            return try await group.next() ?? []
        }
        try await transaction.rollBack()
        return slow + (try await deletions).unexpected([200, 503])
    }

    private func redact(_ tenant: Tenant) async throws -> [String] {
        let answer = try await tenant.post("redact", customer)
        try await eventually("all of it was erased", within: .seconds(180)) {
            try await tenant.database.value(
                "SELECT is_erased FROM service.redactions WHERE app_id = $1", [.text(tenant.app)]) == "t"
        }
        let left = try await tenant.database.value(
            """
            SELECT count(*) FROM audit.entries
            WHERE app_id = $1 AND action <> 'customer.redact'
              AND customer_id = $2 AND (subject_salt, before_image, reason) IS DISTINCT FROM (NULL, NULL, NULL)
            """, [.text(tenant.app), .text(customer)])
        let verified = try await Customerd.run(
            ["audit", "verify", "--app", tenant.app], ["DATABASE_URL": tenant.database.url()], within: .seconds(300))
        return (answer.status == 202 ? [] : ["\(answer)"]) + (left == "0" ? [] : ["\(left ?? "no") entries are left"])
            + (verified.status == 0 ? [] : [verified.output + verified.errors])
    }
}

extension [HTTPAnswer] {
    fileprivate func unexpected(_ statuses: Set<Int>) -> [String] {
        isEmpty ? ["no answers"] : filter { !statuses.contains($0.status) }.prefix(5).map { "\($0)" }
    }
}

extension Tenant {
    /// Lets the trail hold so many entries about a customer that it deleted.
    func fill(_ customer: String, entries: Int) async throws {
        let batch = 500
        for first in stride(from: 0, to: entries, by: batch) {
            try await database.rows(
                """
                SELECT count(*)
                FROM service.append($1, (
                    SELECT jsonb_agg(jsonb_build_object(
                        'id', gen_random_uuid(), 'action', 'customer.update', 'outcome', 'SUCCEEDED',
                        'status_code', 200, 'customer_id', $2::text, 'reason', 'because ' || n, 'ip', '192.0.2.1',
                        'request', '{}'::jsonb, 'before_image', jsonb_build_object(
                            'id', $2::text, 'first_name', 'John', 'last_name', 'Doe ' || n, 'email', NULL,
                            'phone_number', '+1234567', 'status', 'ACTIVE', 'customer_type', 'Individual')))
                    FROM generate_series($3::int, $3::int + $4::int - 1) AS n))
                """,
                [.text(app), .text(customer), .int(first), .int(Swift.min(batch, entries - first))])
        }
    }
}
