/// The bytes that are hashed: members in a fixed order, each by the length and text of its name, then `00` for NULL, or
/// `01` and the length and text of its value. Lengths are four bytes, most significant first; text is UTF-8.
///
/// Values are PostgreSQL's text: uuid in lower case, `inet` with its prefix length, `jsonb` as the server prints it,
/// times as whole microseconds since 1970-01-01T00:00:00Z. So NULL and empty differ, and no value can pass for another.
///
/// Source: docs/audit-chain.md; the functions of sql/migrations/0002_trail.sql compute the same.
public struct CanonicalForm: Sendable, Hashable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// - Parameter values: as many as there are members.
    init(_ members: Members, _ values: (Int) -> String?) {
        bytes.reserveCapacity(1024)
        for (index, name) in members.prefixes.enumerated() {
            bytes += name
            append(values(index))
        }
    }

    public mutating func append(_ name: String, _ value: String?) {
        append(text: name)
        append(value)
    }

    private mutating func append(_ value: String?) {
        bytes.append(value == nil ? 0 : 1)
        if let value { append(text: value) }
    }

    private mutating func append(text: String) {
        withUnsafeBytes(of: UInt32(text.utf8.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: text.utf8)
    }
}

extension CanonicalForm {
    /// The names of a form's members, in order.
    struct Members: Sendable {
        let names: [String]
        /// Every name with its length before it, as it goes into the form.
        let prefixes: [[UInt8]]

        init(_ names: String...) {
            self.names = names
            prefixes = names.map { name in
                var form = CanonicalForm()
                form.append(text: name)
                return form.bytes
            }
        }
    }

    /// What is never erased.
    static let entry = Members(
        "seq", "id", "app_id", "occurred_at", "recorded_at", "action", "outcome", "status_code", "customer_id",
        "actor_key_id", "actor_client_key", "actor_name", "actor_role", "request_id", "idempotency_key", "error_code",
        "sqlstate", "constraint_name", "referencing_table"
    )
    /// What may be about the person, erased by a redaction.
    static let subject = Members("before_image", "reason", "error_message")
    /// Where the attempt came from.
    static let context = Members("actor_claimed", "ip", "user_agent", "request")
}
