import Crypto
import LibPQ

/// An entry as the verifier sees it: what it says, and the hashes that it carries.
struct ChainEntry: Sendable {
    let seq: Int
    /// In lower case, as the database has it.
    let appID: String
    let action: String
    let outcome: String
    let customerID: String?
    let request: String?
    /// Whether everything that a redaction erases is gone.
    let isErased: Bool
    let entry: CanonicalForm
    let subject: CanonicalForm
    let context: CanonicalForm
    let subjectCommitment: [UInt8]?
    let contextCommitment: [UInt8]?
    let subjectSalt: [UInt8]?
    let contextSalt: [UInt8]?
    let previousHash: [UInt8]?
    let hash: [UInt8]?
}

extension ChainEntry {
    /// - Parameter row: the members of the three forms, then commitments, salts and hashes.
    init(_ row: Row) {
        let subjectStart = CanonicalForm.entry.names.count
        let contextStart = subjectStart + CanonicalForm.subject.names.count
        let proofStart = contextStart + CanonicalForm.context.names.count
        seq = row.int(0) ?? 0
        appID = row[2] ?? ""
        action = row[5] ?? ""
        outcome = row[6] ?? ""
        customerID = row[8]
        request = row[contextStart + 3]
        isErased = (subjectStart..<contextStart).allSatisfy { row[$0] == nil }
        entry = CanonicalForm(CanonicalForm.entry) { row[$0] }
        subject = CanonicalForm(CanonicalForm.subject) { row[subjectStart + $0] }
        context = CanonicalForm(CanonicalForm.context) { row[contextStart + $0] }
        subjectCommitment = row.bytes(proofStart)
        contextCommitment = row.bytes(proofStart + 1)
        subjectSalt = row.bytes(proofStart + 2)
        contextSalt = row.bytes(proofStart + 3)
        previousHash = row.bytes(proofStart + 4)
        hash = row.bytes(proofStart + 5)
    }

    /// The hash that the entry ought to carry.
    var expectedHash: [UInt8] {
        var digest = SHA256()
        digest.update(data: entry.bytes)
        for part in [subjectCommitment, contextCommitment, previousHash] { digest.update(data: part ?? []) }
        return Array(digest.finalize())
    }

    /// The commitment to a form under a salt. Source: RFC 2104.
    static func commitment(to form: CanonicalForm, salt: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: form.bytes, using: SymmetricKey(data: salt)))
    }
}
