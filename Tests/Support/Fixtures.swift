import Foundation

/// A new identifier, in lower case.
public func newID() -> String {
    UUID().uuidString.lowercased()
}

/// A customer as a test wants it to be.
public struct CustomerFixture: Sendable {
    public var id = newID()
    public var firstName = "John"
    public var lastName = "Doe"
    public var email: String? = "john.doe@example.com"
    public var phoneNumber = "+1234567890"
    public var status = "ACTIVE"
    public var customerType = "Individual"
    /// Decimal text.
    public var lastSpent: String? = "150.75"
    /// RFC 3339, as the API is to answer it.
    public var lastPurchaseDate: String? = "2024-01-15T10:30:00Z"
    public var createdAt = "2024-01-01T00:00:00Z"
    public var updatedAt = "2024-01-15T10:30:00Z"

    public init() {}

    /// A usual customer with something unusual about it.
    public init(_ change: (inout CustomerFixture) -> Void) {
        change(&self)
    }

    /// The record of docs/api.md, Records, byte for byte.
    public func record(app: String) -> String {
        let members: [(String, String?)] = [
            ("id", Self.quoted(id)),
            ("first_name", Self.quoted(firstName)),
            ("last_name", Self.quoted(lastName)),
            ("email", email.map(Self.quoted)),
            ("phone_number", Self.quoted(phoneNumber)),
            ("status", Self.quoted(status)),
            ("customer_type", Self.quoted(customerType)),
            ("last_spent", lastSpent),
            ("last_purchase_date", lastPurchaseDate.map(Self.quoted)),
            ("appId", Self.quoted("app_\(app)")),
            ("createdAt", Self.quoted(createdAt)),
            ("updatedAt", Self.quoted(updatedAt)),
        ]
        return "{" + members.map { "\"\($0)\":\($1 ?? "null")" }.joined(separator: ",") + "}"
    }

    /// A JSON string. Source: RFC 8259, section 7; escapes as short as they go.
    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\u{8}": quoted += "\\b"
            case "\u{c}": quoted += "\\f"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{0}"..<" ": quoted += String(format: "\\u%04x", scalar.value)
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
