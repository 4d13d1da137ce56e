/// What a key may do. Which role holds which permission is decided by `service.permits` in the database.
public enum Permission: String, Sendable, Hashable, CaseIterable {
    case readCustomers = "customers:read"
    case writeCustomers = "customers:write"
    case deleteCustomers = "customers:delete"
    case restoreCustomers = "customers:restore"
    case readAudit = "audit:read"
    /// What no role holds: it switches an operation off.
    case nobody
}
