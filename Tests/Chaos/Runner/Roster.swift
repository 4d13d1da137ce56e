import ChaosJudge
import NIOConcurrencyHelpers

/// Who is known where: what clients learn from answers, and share.
final class Roster: Sendable {
    /// A request that can be made again under its key.
    struct Asked: Sendable {
        var request: Request
        var key: String
        var reason: PersonalData?
    }

    private struct State {
        /// The customers in the places of each tenant.
        var places: [[String]]
        var asked: [[Asked]]
        /// Invoices that are certainly there.
        var invoices: [[(customer: String, invoice: String)]]
        var records: [String: CustomerRecord] = [:]
    }

    private static let memory = 60
    private let state: NIOLockedValueBox<State>

    /// - Parameter places: the customers of each tenant.
    init(places: [[String]]) {
        state = NIOLockedValueBox(
            State(places: places, asked: places.map { _ in [] }, invoices: places.map { _ in [] }))
    }

    func customer(of tenant: Int, at place: Int) -> String {
        state.withLockedValue { $0.places[tenant][place] }
    }

    /// A new customer takes a place.
    func settle(_ customer: String, of tenant: Int, at place: Int) {
        state.withLockedValue { $0.places[tenant][place] = customer }
    }

    func note(_ asked: Asked, of tenant: Int) {
        state.withLockedValue { $0.asked[tenant] = ($0.asked[tenant] + [asked]).suffix(Self.memory) }
    }

    /// Something that was asked lately.
    func asked(of tenant: Int, _ choice: UInt64) -> Asked? {
        state.withLockedValue { state in
            let asked = state.asked[tenant]
            return asked.isEmpty ? nil : asked[Int(choice % UInt64(asked.count))]
        }
    }

    func note(invoice: String, of customer: String, tenant: Int) {
        state.withLockedValue { $0.invoices[tenant].append((customer, invoice)) }
    }

    /// Takes an invoice off the list, one of a customer if there is any.
    func takeInvoice(of customer: String, tenant: Int, _ choice: UInt64) -> (customer: String, invoice: String)? {
        state.withLockedValue { state in
            let all = state.invoices[tenant]
            guard !all.isEmpty else { return nil }
            let index = all.firstIndex { $0.customer == customer } ?? Int(choice % UInt64(all.count))
            return state.invoices[tenant].remove(at: index)
        }
    }

    func note(_ record: CustomerRecord) {
        state.withLockedValue { $0.records[record.id] = record }
    }

    /// The last record that anybody saw of a customer.
    func record(of customer: String) -> CustomerRecord? {
        state.withLockedValue { $0.records[customer] }
    }
}
