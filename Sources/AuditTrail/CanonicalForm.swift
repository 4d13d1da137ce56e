/// The bytes that are hashed: members in a fixed order, each by the length and text of its name, then `00` for NULL, or
/// `01` and the length and text of its value. Lengths are four bytes, most significant first; text is UTF-8.
///
/// Values are PostgreSQL's text: uuid in lower case, `inet` with its prefix length, `jsonb` as the server prints it,
/// times as whole microseconds since 1970-01-01T00:00:00Z. NULL and empty differ, and no value can pass for another.
///
/// Source: docs/audit-chain.md; the functions `audit.canonical`, `audit.subject` and `audit.context` compute the same.
struct CanonicalForm: Sendable, Hashable {
    private(set) var bytes: [UInt8] = []

    private init() {}

    init(_ members: Members, of row: ChainRow) {
        bytes.reserveCapacity(1024)
        for (name, position) in zip(members.prefixes, members.positions) {
            bytes += name
            append(row.values[position])
        }
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
    /// The columns of a form, in order.
    struct Members: Sendable {
        /// Their positions in a row.
        let positions: [Int]
        /// Each name with its length before it, as it goes into the form.
        let prefixes: [[UInt8]]

        init(_ columns: ChainRow.Column...) {
            positions = columns.map(\.position)
            prefixes = columns.map { column in
                var form = CanonicalForm()
                form.append(text: column.rawValue)
                return form.bytes
            }
        }
    }

    /// The members that are never erased.
    static let entry = Members(
        .seq, .id, .appID, .occurredAt, .recordedAt, .action, .outcome, .statusCode, .customerID, .actorKeyID,
        .actorClientKey, .actorName, .actorRole, .requestID, .idempotencyKey, .errorCode, .sqlstate, .constraintName,
        .referencingTable
    )
    /// The members that may hold personal data, erased by a redaction.
    static let subject = Members(.beforeImage, .reason, .errorMessage)
    /// The members that say where the attempt came from.
    static let context = Members(.actorClaimed, .ip, .userAgent, .request)
}
