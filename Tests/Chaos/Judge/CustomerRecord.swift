/// A customer as the API renders it. Source: docs/api.md, Records.
package struct CustomerRecord: Sendable, Hashable {
    package var id: String
    package var firstName: String
    package var lastName: String
    package var email: String?
    package var phoneNumber: String
    package var status: String
    package var customerType: String
    /// Decimal text.
    package var lastSpent: String?
    /// RFC 3339, as the other times.
    package var lastPurchaseDate: String?
    /// `app_` and the UUID of the app.
    package var appID: String
    package var createdAt: String
    package var updatedAt: String

    package init(
        id: String, app: String, firstName: String, lastName: String, email: String?, phoneNumber: String,
        status: String = "ACTIVE", customerType: String = "Individual", createdAt: String, updatedAt: String
    ) {
        self.id = id
        self.firstName = firstName
        self.lastName = lastName
        self.email = email
        self.phoneNumber = phoneNumber
        self.status = status
        self.customerType = customerType
        self.appID = "app_\(app)"
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }

    /// Reads a record, its members in any order, as `jsonb` has them.
    ///
    /// nil when a member is missing, or one too many.
    package init?(_ value: JSONValue?) {
        guard
            let value, case .object(let members) = value, members.count == 12,
            let id = value["id"]?.string, let firstName = value["first_name"]?.string,
            let lastName = value["last_name"]?.string, let email = value["email"],
            let phoneNumber = value["phone_number"]?.string, let status = value["status"]?.string,
            let customerType = value["customer_type"]?.string, let lastSpent = value["last_spent"],
            let lastPurchaseDate = value["last_purchase_date"], let appID = value["appId"]?.string,
            let createdAt = value["createdAt"]?.string, let updatedAt = value["updatedAt"]?.string
        else { return nil }
        self.id = id
        self.firstName = firstName
        self.lastName = lastName
        self.email = email.string
        self.phoneNumber = phoneNumber
        self.status = status
        self.customerType = customerType
        if case .number(let digits) = lastSpent { self.lastSpent = digits }
        self.lastPurchaseDate = lastPurchaseDate.string
        self.appID = appID
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }

    /// Reads a record that must match docs/api.md, Records, byte for byte.
    package init?(text: String) {
        self.init(JSONValue(text))
        guard self.text == text else { return nil }
    }

    /// The members in the order of docs/api.md, Records.
    package var json: JSONValue {
        let members: [(String, JSONValue)] = [
            ("id", .string(id)),
            ("first_name", .string(firstName)),
            ("last_name", .string(lastName)),
            ("email", email.map { .string($0) } ?? .null),
            ("phone_number", .string(phoneNumber)),
            ("status", .string(status)),
            ("customer_type", .string(customerType)),
            ("last_spent", lastSpent.map { .number($0) } ?? .null),
            ("last_purchase_date", lastPurchaseDate.map { .string($0) } ?? .null),
            ("appId", .string(appID)),
            ("createdAt", .string(createdAt)),
            ("updatedAt", .string(updatedAt)),
        ]
        return .object(members.map { .init(name: $0.0, value: $0.1) })
    }

    package var text: String { json.text }
}

/// A customer as it was before a write. Source: docs/api.md, Records.
package struct CustomerImage: Sendable, Hashable {
    package var record: CustomerRecord
    /// nil where it isn't said.
    package var isArchived: Bool?

    package init(_ record: CustomerRecord, isArchived: Bool?) {
        self.record = record
        self.isArchived = isArchived
    }

    /// Reads a before-image: the members of a record, and `columns` where further columns have values.
    ///
    /// nil when it is no record, when `columns` is empty, or when it names a column with no value.
    package init?(_ value: JSONValue?) {
        guard let value, case .object(var members) = value else { return nil }
        let columns = value["columns"]
        if let columns {
            guard case .object(let columns) = columns, !columns.isEmpty else { return nil }
            guard !columns.contains(where: { $0.value == .null }) else { return nil }
            members.removeAll { $0.name == "columns" }
        }
        guard let record = CustomerRecord(.object(members)) else { return nil }
        self.init(record, isArchived: columns?["archived_at"] != nil)
    }

    package var text: String {
        guard isArchived == true else { return record.text }
        return record.text.dropLast() + #","columns":{"archived_at":"2026-01-01T00:00:00Z"}}"#
    }
}

extension CustomerRecord {
    /// Without personal data.
    package var erased: CustomerRecord {
        var erased = self
        erased.firstName = "[redacted]"
        erased.lastName = ""
        erased.email = nil
        erased.phoneNumber = ""
        return erased
    }

    package var isErased: Bool { self == erased }

    /// For people: what tells one version of a record from another.
    var brief: String { "[\(firstName), \(status), \(customerType), \(updatedAt)]" }

    /// Whether this is a record as it was seen, perhaps with its personal data erased afterwards.
    func isSighting(of record: CustomerRecord) -> Bool {
        self == record || self == record.erased
    }

    /// The same record at another time of its last change.
    func updated(at time: String) -> CustomerRecord {
        var record = self
        record.updatedAt = time
        return record
    }

    /// Whether the last change of this record isn't earlier than that of another.
    func isNoOlder(than other: CustomerRecord) -> Bool {
        Self.comparable(updatedAt) >= Self.comparable(other.updatedAt)
    }

    /// Times in UTC compare as text once their fractions are equally long.
    private static func comparable(_ time: String) -> String {
        let parts = time.dropLast().split(separator: ".", maxSplits: 1)
        let fraction = parts.count > 1 ? String(parts[1]) : ""
        return "\(parts.first ?? "").\(fraction)" + String(repeating: "0", count: max(0, 9 - fraction.count))
    }
}
