/// Whether one does business with a customer.
public enum CustomerStatus: String, Sendable, Hashable, CaseIterable {
    case active = "ACTIVE"
    case blacklisted = "BLACKLISTED"
    case deactivated = "DEACTIVATED"
}
