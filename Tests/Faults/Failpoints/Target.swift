import TestSupport

/// The customer that a deletion is about.
enum Target: String, CaseIterable, Sendable {
    case deletable
    case blocked
    case missing

    /// What the trail says when the deletion has come to its end.
    var outcome: String {
        switch self {
        case .deletable: "SUCCEEDED"
        case .blocked: "REFUSED"
        case .missing: "NOT_FOUND"
        }
    }

    /// Makes one.
    ///
    /// - Returns: its id and the only true answer.
    func make(for tenant: Tenant) async throws -> (id: String, truth: HTTPAnswer) {
        let customer = CustomerFixture()
        if self != .missing { try await tenant.insert(customer) }
        if self == .blocked { try await tenant.insertDependent("invoices", of: customer.id) }
        let truth =
            switch self {
            case .deletable: HTTPAnswer(status: 200, body: customer.record(app: tenant.app))
            case .blocked:
                HTTPAnswer(status: 400, body: HTTPAnswer.error(400, "Customer cannot be deleted.", "Bad Request"))
            case .missing: HTTPAnswer(status: 404, body: HTTPAnswer.error(404, "Customer not found", "Not Found"))
            }
        return (customer.id, truth)
    }
}
