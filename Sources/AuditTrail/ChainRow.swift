import LibPQ

/// An entry of the trail, column by column in PostgreSQL's text: what is hashed, exported and read back.
///
/// Times are whole microseconds since 1970-01-01T00:00:00Z, bytes are in hex.
struct ChainRow: Sendable, Hashable {
    /// The columns of `audit.entries`, in their order.
    enum Column: String, CaseIterable, Sendable {
        case seq, id
        case appID = "app_id"
        case occurredAt = "occurred_at"
        case recordedAt = "recorded_at"
        case action, outcome
        case statusCode = "status_code"
        case customerID = "customer_id"
        case beforeImage = "before_image"
        case actorKeyID = "actor_key_id"
        case actorClientKey = "actor_client_key"
        case actorName = "actor_name"
        case actorRole = "actor_role"
        case actorClaimed = "actor_claimed"
        case reason, ip
        case userAgent = "user_agent"
        case requestID = "request_id"
        case idempotencyKey = "idempotency_key"
        case request
        case errorCode = "error_code"
        case sqlstate
        case constraintName = "constraint_name"
        case referencingTable = "referencing_table"
        case errorMessage = "error_message"
        case previousHash = "previous_hash"
        case hash
        case subjectCommitment = "subject_commitment"
        case contextCommitment = "context_commitment"
        case subjectSalt = "subject_salt"
        case contextSalt = "context_salt"

        private static let positions = Dictionary(uniqueKeysWithValues: zip(allCases, 0...))

        var position: Int { Self.positions[self] ?? 0 }
        var isNumber: Bool { self == .seq || self == .statusCode }
        var isTime: Bool { self == .occurredAt || self == .recordedAt }
    }

    var values: [String?]

    /// An entry of NULLs.
    init() {
        values = Array(repeating: nil, count: Column.allCases.count)
    }

    /// - Parameter row: a row that has the columns in their order, as ``ChainReader`` selects them.
    init(_ row: Row) {
        values = Column.allCases.indices.map { row[$0] }
    }

    subscript(_ column: Column) -> String? {
        get { values[column.position] }
        set { values[column.position] = newValue }
    }

    /// The bytes of a column in hex; nil for NULL and for anything but hex.
    func bytes(_ column: Column) -> [UInt8]? {
        self[column].flatMap { [UInt8](hex: $0) }
    }
}

extension [UInt8] {
    /// Reads hex in lower case, the only form that PostgreSQL writes.
    init?(hex text: String) {
        let text = Array(text.utf8)
        guard text.count.isMultiple(of: 2) else { return nil }
        self = []
        reserveCapacity(text.count / 2)
        for index in stride(from: 0, to: text.count, by: 2) {
            guard let high = text[index].lowerCaseDigit, let low = text[index + 1].lowerCaseDigit else { return nil }
            append(high << 4 | low)
        }
    }

    /// In lower case.
    package var hex: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

extension UInt8 {
    fileprivate var lowerCaseDigit: UInt8? {
        (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(self) ? nil : hexadecimalDigit
    }
}
