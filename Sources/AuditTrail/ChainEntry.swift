import Crypto

/// An entry as the verifier sees it: what can be checked on the entry alone, and what ties it to others.
struct ChainEntry: Sendable {
    let seq: Int
    /// In lower case, as the database has it.
    let appID: String
    let customerID: String?
    let previousHash: [UInt8]
    let hash: [UInt8]
    /// Whether its subject data and the salt of that are gone. A later entry must declare the erasure.
    let isErased: Bool
    /// Whether it declares that the subject data of all earlier entries of its customer is erased, or will be.
    let declaresErasure: Bool
    /// Whether its context and the salt of that are gone. A later entry must declare that.
    let isContextErased: Bool
    /// Up to which seq it declares that contexts are erased, or will be; nil if it doesn't.
    let contextsErasedUpTo: Int?
    /// How its own columns contradict each other; nil if they don't.
    let fault: String?

    init(_ row: ChainRow) {
        seq = row[.seq].flatMap { Int($0) } ?? 0
        appID = row[.appID] ?? ""
        customerID = row[.customerID]
        previousHash = row.bytes(.previousHash) ?? []
        hash = row.bytes(.hash) ?? []
        isErased = Self.isErased(row)
        declaresErasure = row[.action] == "customer.redact" && row[.outcome] == "SUCCEEDED"
        isContextErased = Self.isContextErased(row)
        contextsErasedUpTo = Self.contextsErasedUpTo(row)
        fault = Self.fault(of: row)
    }

    /// What remains of `request` is then no longer proven.
    private static func isContextErased(_ row: ChainRow) -> Bool {
        row[.contextSalt] == nil && row[.actorClaimed] == nil && row[.ip] == nil && row[.userAgent] == nil
    }

    /// Only while its own context is proven.
    private static func contextsErasedUpTo(_ row: ChainRow) -> Int? {
        guard row[.action] == "trail.retention", row[.outcome] == "SUCCEEDED", row[.contextSalt] != nil else {
            return nil
        }
        let form = /\{"days": [0-9]+, "up_to": ([0-9]+)\}/
        return row[.request].flatMap { $0.wholeMatch(of: form) }.flatMap { Int($0.1) }
    }

    private static func isErased(_ row: ChainRow) -> Bool {
        row[.subjectSalt] == nil && row[.customerID] != nil
            && CanonicalForm.subject.positions.allSatisfy { row.values[$0] == nil }
    }

    private static func fault(of row: ChainRow) -> String? {
        guard hash(of: row) == row.bytes(.hash) else { return "its hash doesn't match its columns" }
        guard isContextErased(row) || commits(row, .contextCommitment, to: CanonicalForm.context, under: .contextSalt)
        else {
            return "actor_claimed, ip, user_agent or request doesn't match context_commitment"
        }
        if isErased(row) { return nil }
        guard row[.subjectSalt] != nil else { return "its subject_salt is missing, but its subject data isn't" }
        return commits(row, .subjectCommitment, to: CanonicalForm.subject, under: .subjectSalt)
            ? nil : "before_image, reason or error_message doesn't match subject_commitment"
    }

    /// The hash that the columns give; nil if one of its three parts isn't 32 bytes.
    static func hash(of row: ChainRow) -> [UInt8]? {
        var digest = SHA256()
        digest.update(data: CanonicalForm(CanonicalForm.entry, of: row).bytes)
        for column in [ChainRow.Column.subjectCommitment, .contextCommitment, .previousHash] {
            guard let part = row.bytes(column), part.count == SHA256.byteCount else { return nil }
            digest.update(data: part)
        }
        return Array(digest.finalize())
    }

    /// Whether a commitment is the HMAC of a form under a salt of 32 bytes: HMAC pads keys with zeros, so that one of another
    /// length can give the same. Source: RFC 2104.
    static func commits(
        _ row: ChainRow, _ commitment: ChainRow.Column, to members: CanonicalForm.Members, under salt: ChainRow.Column
    ) -> Bool {
        guard let salt = row.bytes(salt), salt.count == 32, let commitment = row.bytes(commitment) else { return false }
        let form = CanonicalForm(members, of: row)
        return HMAC<SHA256>.authenticationCode(for: form.bytes, using: SymmetricKey(data: salt)) == commitment
    }
}

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
        let columns: [ChainRow.Column]
        /// Their positions in a row.
        let positions: [Int]
        /// Each name with its length before it, as it goes into the form.
        let prefixes: [[UInt8]]

        init(_ columns: ChainRow.Column...) {
            self.columns = columns
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
