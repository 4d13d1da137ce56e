/// What is attempted, as the trail names it.
public enum Action: String, Sendable, Hashable {
    case createCustomer = "customer.create"
    case updateCustomer = "customer.update"
    case setStatus = "customer.status"
    case archiveCustomer = "customer.archive"
    case unarchiveCustomer = "customer.unarchive"
    case redactCustomer = "customer.redact"
    case restoreCustomer = "customer.restore"
    case deleteCustomer = "customer.delete"
    case deleteCustomers = "customer.bulk-delete"

    /// Whether a success answers with a record that still exists and so has an `ETag`.
    var answersWithLivingRecord: Bool {
        self != .deleteCustomer && self != .deleteCustomers
    }
}
