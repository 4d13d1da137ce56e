import Foundation

/// Follows chains entry by entry. A pure value: ``ChainVerifier`` feeds it.
struct ChainWalk: Sendable {
    /// The last entry of a chain as `audit.heads` has it.
    struct Head: Sendable, Hashable {
        let seq: Int
        let hash: [UInt8]

        static let genesis = Head(seq: 0, hash: [UInt8](repeating: 0, count: 32))
    }

    private(set) var verdict = ChainVerdict()
    private var heads: [String: Head]
    private var appID: String?
    /// The last entry of the current chain that was proven.
    private var last = Head.genesis
    private var isBroken = false
    /// Erased entries of the current chain that no redaction has accounted for yet, by customer.
    private var unaccounted: [String: Set<Int>] = [:]

    /// - Parameter heads: by app, in the form that ``ChainEntry/appID`` has.
    init(heads: [String: Head]) {
        self.heads = heads
    }

    /// Takes the next entry; entries come by app and seq.
    mutating func take(_ entry: ChainEntry) {
        if entry.appID != appID {
            finishChain()
            begin(entry.appID)
        }
        verdict.entries += 1
        guard !isBroken else { return }
        if let (seq, reason) = fault(of: entry) { return breakChain(at: seq, reason) }
        account(for: entry)
        last = Head(seq: entry.seq, hash: entry.hash ?? [])
        verdict.verified += 1
    }

    /// - Returns: what was found, once the last entry was taken.
    mutating func finish() -> ChainVerdict {
        finishChain()
        // Chains of which nothing but the head is left.
        for (app, _) in heads.sorted(by: { $0.key < $1.key }) {
            begin(app)
            finishChain()
        }
        return verdict
    }

    private mutating func begin(_ app: String) {
        appID = app
        last = .genesis
        isBroken = false
        unaccounted = [:]
        verdict.chains += 1
    }

    private mutating func breakChain(at seq: Int, _ reason: String) {
        isBroken = true
        let found = ChainVerdict.Break(appID: appID.flatMap(UUID.init) ?? .zero, seq: seq, reason: reason)
        // A chain that has lost all its entries is looked at last, but may come first.
        if let first = verdict.broken, first.appID.text <= found.appID.text { return }
        verdict.broken = found
    }

    // MARK: - Entries

    private func fault(of entry: ChainEntry) -> (seq: Int, reason: String)? {
        guard entry.seq <= last.seq + 1 else { return (last.seq + 1, "entry \(last.seq + 1) is missing") }
        guard entry.seq == last.seq + 1 else { return (entry.seq, "there is a second entry \(entry.seq)") }
        guard entry.expectedHash == entry.hash else {
            return (entry.seq, "entry \(entry.seq) was changed: its hash isn't that of its columns")
        }
        guard entry.previousHash == last.hash else {
            let before = last.seq == 0 ? "32 zero bytes" : "the hash of entry \(last.seq)"
            return (entry.seq, "the previous_hash of entry \(entry.seq) isn't \(before): one of them was replaced")
        }
        guard let salt = entry.contextSalt,
            ChainEntry.commitment(to: entry.context, salt: salt) == entry.contextCommitment
        else {
            return (
                entry.seq,
                "entry \(entry.seq) was changed: actor_claimed, ip, user_agent or request isn't what was committed to"
            )
        }
        return subjectFault(of: entry).map { (entry.seq, $0) }
    }

    private func subjectFault(of entry: ChainEntry) -> String? {
        if let salt = entry.subjectSalt {
            return ChainEntry.commitment(to: entry.subject, salt: salt) == entry.subjectCommitment
                ? nil
                : "entry \(entry.seq) was changed: before_image, reason or error_message isn't what was committed to"
        }
        // Without the salt only an erasure can be right; whether it was one shows later in the chain.
        return entry.isErased && entry.customerID != nil
            ? nil : "entry \(entry.seq) was changed: its subject_salt is gone, but what it protects wasn't redacted"
    }

    // MARK: - Redactions

    private mutating func account(for entry: ChainEntry) {
        guard let customer = entry.customerID else { return }
        if entry.action == "customer.redact", entry.outcome == "SUCCEEDED", let erased = unaccounted[customer] {
            let rest = erased.subtracting(Self.redactedSeqs(entry.request))
            unaccounted[customer] = rest.isEmpty ? nil : rest
        }
        if entry.subjectSalt == nil { unaccounted[customer, default: []].insert(entry.seq) }
    }

    private struct RedactionRequest: Decodable {
        let redacted_seqs: [Int]?
    }

    private static func redactedSeqs(_ request: String?) -> [Int] {
        guard let request else { return [] }
        return (try? JSONDecoder().decode(RedactionRequest.self, from: Data(request.utf8)))?.redacted_seqs ?? []
    }

    // MARK: - Ends

    private mutating func finishChain() {
        guard let app = appID else { return }
        let head = heads.removeValue(forKey: app)
        appID = app
        defer { appID = nil }
        guard !isBroken else { return }
        if let erased = unaccounted.values.joined().min() {
            verdict.verified -= last.seq - erased + 1
            breakChain(at: erased, "entry \(erased) was erased, but no redaction of its customer accounts for it")
        } else if let (seq, reason) = fault(of: head) {
            verdict.verified -= max(0, last.seq - seq + 1)
            breakChain(at: seq, reason)
        }
    }

    private func fault(of head: Head?) -> (seq: Int, reason: String)? {
        guard let head else { return (last.seq, "the chain has no row in audit.heads") }
        if head.seq > last.seq {
            return (last.seq + 1, "entry \(last.seq + 1) is missing: audit.heads counts \(head.seq) entries")
        }
        if head.seq < last.seq {
            return (head.seq + 1, "entry \(head.seq + 1) was added by somebody else: audit.heads counts \(head.seq)")
        }
        return head.hash == last.hash ? nil : (last.seq, "entry \(last.seq) was replaced: audit.heads has another hash")
    }
}
