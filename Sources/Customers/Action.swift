/// What is attempted, as the trail names it.
public enum Action: String, Sendable, Hashable {
    case deleteCustomer = "customer.delete"
}
