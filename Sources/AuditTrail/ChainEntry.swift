import Crypto

/// An entry as the verifier sees it: what it shows by itself, and what ties it to others.
struct ChainEntry: Sendable {
    let seq: Int
    /// In lower case, as the database has it.
    let appID: String
    let customerID: String?
    let previousHash: [UInt8]
    let hash: [UInt8]
    /// Whether everything that a redaction erases is gone. Whether a redaction did it shows later in the chain.
    let isErased: Bool
    /// Which entries of its customer it says to have erased.
    let redactedSeqs: Set<Int>
    /// Why it isn't what was written, as far as its own columns tell.
    let fault: String?
}

extension ChainEntry {
    init(_ row: ChainRow) {
        seq = row[.seq].flatMap { Int($0) } ?? 0
        appID = row[.appID] ?? ""
        customerID = row[.customerID]
        previousHash = row.bytes(.previousHash) ?? []
        hash = row.bytes(.hash) ?? []
        isErased = Self.isErased(row)
        redactedSeqs = Self.redactedSeqs(row)
        fault = Self.fault(of: row)
    }

    private static func fault(of row: ChainRow) -> String? {
        guard hash(of: row) == row.bytes(.hash) else { return "its hash isn't that of its columns" }
        guard commits(row, .contextCommitment, to: CanonicalForm.context, under: .contextSalt) else {
            return "actor_claimed, ip, user_agent or request isn't what was committed to"
        }
        if isErased(row) { return nil }
        guard row[.subjectSalt] != nil else { return "its subject_salt is gone, but what it protects wasn't redacted" }
        return commits(row, .subjectCommitment, to: CanonicalForm.subject, under: .subjectSalt)
            ? nil : "before_image, reason or error_message isn't what was committed to"
    }

    /// The hash that the entry ought to carry.
    private static func hash(of row: ChainRow) -> [UInt8]? {
        var digest = SHA256()
        digest.update(data: CanonicalForm(CanonicalForm.entry, of: row).bytes)
        for column in [ChainRow.Column.subjectCommitment, .contextCommitment, .previousHash] {
            guard let part = row.bytes(column), part.count == SHA256.byteCount else { return nil }
            digest.update(data: part)
        }
        return Array(digest.finalize())
    }

    /// Whether a commitment is that to a form under a salt. Source: RFC 2104.
    private static func commits(
        _ row: ChainRow, _ commitment: ChainRow.Column, to members: CanonicalForm.Members, under salt: ChainRow.Column
    ) -> Bool {
        guard let salt = row.bytes(salt), let commitment = row.bytes(commitment) else { return false }
        let form = CanonicalForm(members, of: row)
        return HMAC<SHA256>.authenticationCode(for: form.bytes, using: SymmetricKey(data: salt)) == commitment
    }

    private static func isErased(_ row: ChainRow) -> Bool {
        row[.subjectSalt] == nil && row[.customerID] != nil
            && CanonicalForm.subject.positions.allSatisfy { row.values[$0] == nil }
    }

    // MARK: - Redactions

    private struct RedactionRequest: Decodable {
        enum CodingKeys: String, CodingKey {
            case seqs = "redacted_seqs"
        }

        let seqs: [Int]?
    }

    private static func redactedSeqs(_ row: ChainRow) -> Set<Int> {
        guard row[.action] == "customer.redact", row[.outcome] == "SUCCEEDED", let request = row[.request] else {
            return []
        }
        let seqs = (try? JSONDecoder().decode(RedactionRequest.self, from: Data(request.utf8)))?.seqs
        return Set(seqs ?? [])
    }
}
