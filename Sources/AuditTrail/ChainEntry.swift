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
        fault = Self.fault(of: row)
    }

    private static func isErased(_ row: ChainRow) -> Bool {
        row[.subjectSalt] == nil && row[.customerID] != nil
            && CanonicalForm.subject.positions.allSatisfy { row.values[$0] == nil }
    }

    private static func fault(of row: ChainRow) -> String? {
        guard hash(of: row) == row.bytes(.hash) else { return "its hash doesn't match its columns" }
        guard commits(row, .contextCommitment, to: CanonicalForm.context, under: .contextSalt) else {
            return "actor_claimed, ip, user_agent or request doesn't match context_commitment"
        }
        if isErased(row) { return nil }
        guard row[.subjectSalt] != nil else { return "its subject_salt is missing, but its subject data isn't" }
        return commits(row, .subjectCommitment, to: CanonicalForm.subject, under: .subjectSalt)
            ? nil : "before_image, reason or error_message doesn't match subject_commitment"
    }

    /// The hash that the columns give; nil if one of its three parts isn't 32 bytes.
    private static func hash(of row: ChainRow) -> [UInt8]? {
        var digest = SHA256()
        digest.update(data: CanonicalForm(CanonicalForm.entry, of: row).bytes)
        for column in [ChainRow.Column.subjectCommitment, .contextCommitment, .previousHash] {
            guard let part = row.bytes(column), part.count == SHA256.byteCount else { return nil }
            digest.update(data: part)
        }
        return Array(digest.finalize())
    }

    /// Whether a commitment is the HMAC of a form under a salt. Source: RFC 2104.
    private static func commits(
        _ row: ChainRow, _ commitment: ChainRow.Column, to members: CanonicalForm.Members, under salt: ChainRow.Column
    ) -> Bool {
        guard let salt = row.bytes(salt), let commitment = row.bytes(commitment) else { return false }
        let form = CanonicalForm(members, of: row)
        return HMAC<SHA256>.authenticationCode(for: form.bytes, using: SymmetricKey(data: salt)) == commitment
    }
}
