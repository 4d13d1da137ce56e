/// Follows chains entry by entry. A pure value: ``ChainVerifier`` feeds it from the database, ``ExportVerifier`` from an
/// export.
struct ChainWalk: Sendable {
    private(set) var verdict = ChainVerdict()
    /// What `audit.heads` says of chains that aren't finished.
    private var heads: [String: ChainHead] = [:]
    /// What was signed of chains that aren't begun, shortest first.
    private var checkpoints: [String: [ChainHead]]
    /// Up to where chains were proven before, and aren't looked at.
    private let proven: [String: ChainHead]
    /// The chain that is being followed.
    private var appID: String?
    /// The chain that was finished last.
    private var finishedAppID: String?
    /// The last entry of the chain that was proven.
    private var last = ChainHead.genesis("")
    private var isBroken = false
    /// What was signed of the chain, after ``last``.
    private var signed: [ChainHead] = []
    /// The last checkpoint that the chain agrees with.
    private var agreed = 0
    /// Erased entries of the chain that no redaction has accounted for yet, by customer.
    private var unaccounted: [String: Set<Int>] = [:]

    /// - Parameters:
    ///   - checkpoints: heads that were signed, at most those of the chains that will come.
    ///   - proven: by app, heads among them whose next entry will come first, instead of entry 1.
    init(checkpoints: [ChainHead] = [], proven: [String: ChainHead] = [:]) {
        self.proven = proven
        self.checkpoints = Dictionary(grouping: checkpoints, by: \.appID).mapValues { heads in
            heads.sorted { $0.seq < $1.seq }
        }
    }

    /// Takes what `audit.heads` says of a chain, at the latest after its last entry.
    mutating func take(_ head: ChainHead) {
        heads[head.appID] = head
    }

    /// Takes the next entry; entries come by app and seq.
    mutating func take(_ entry: ChainEntry) {
        if entry.appID != appID {
            finishChain()
            begin(entry.appID)
            if let finishedAppID, entry.appID <= finishedAppID {
                breakChain(at: entry.seq, "the chain comes after that of \(finishedAppID): chains aren't in order")
            }
        }
        verdict.entries += 1
        guard !isBroken else { return }
        if let (seq, reason) = fault(of: entry) { return breakChain(at: seq, reason) }
        account(for: entry)
        last = ChainHead(appID: entry.appID, seq: entry.seq, hash: entry.hash)
        while signed.first?.seq == last.seq { agreed = signed.removeFirst().seq }
        verdict.verified += 1
    }

    /// Ends where what ought to come next can't be read.
    mutating func stop(_ reason: String) -> ChainVerdict {
        if !isBroken { breakChain(at: appID == nil ? nil : last.seq + 1, reason) }
        return verdict
    }

    /// - Returns: what was found, once the last entry was taken.
    mutating func finish() -> ChainVerdict {
        finishChain()
        // Chains of which nothing but the head is left, or not even that.
        for app in Set(heads.keys).union(checkpoints.keys).sorted() {
            begin(app)
            finishChain()
        }
        verdict.heads.sort { $0.appID < $1.appID }
        return verdict
    }

    private mutating func begin(_ app: String) {
        appID = app
        last = proven[app] ?? .genesis(app)
        isBroken = false
        signed = (checkpoints.removeValue(forKey: app) ?? []).filter { $0.seq > last.seq }
        agreed = last.seq
        unaccounted = [:]
        verdict.chains += 1
    }

    private mutating func breakChain(at seq: Int?, _ reason: String) {
        isBroken = true
        // A chain that has lost all its entries is looked at last, but may come first.
        if let first = verdict.broken?.appID, let appID, first <= appID { return }
        verdict.broken = ChainVerdict.Break(appID: appID, seq: seq, reason: reason)
    }

    // MARK: - Entries

    private func fault(of entry: ChainEntry) -> (seq: Int, reason: String)? {
        let seq = entry.seq
        guard seq <= last.seq + 1 else { return (last.seq + 1, "entry \(last.seq + 1) is missing") }
        guard seq == last.seq + 1 else { return (seq, "there is a second entry \(seq)") }
        if let fault = entry.fault { return (seq, "entry \(seq) was changed: \(fault)") }
        guard entry.previousHash == last.hash else {
            let before = last.seq == 0 ? "32 zero bytes" : "the hash of entry \(last.seq)"
            return (seq, "the previous_hash of entry \(seq) isn't \(before): one of them was replaced")
        }
        guard signed.prefix(while: { $0.seq == seq }).allSatisfy({ $0.hash == entry.hash }) else {
            let start = agreed == 0 ? "" : ", but after entry \(agreed), on which an earlier one agrees"
            return (seq, "the chain forks from its checkpoint: it was rewritten at entry \(seq) or before\(start)")
        }
        return nil
    }

    private mutating func account(for entry: ChainEntry) {
        guard let customer = entry.customerID else { return }
        if !entry.redactedSeqs.isEmpty, let erased = unaccounted[customer] {
            let rest = erased.subtracting(entry.redactedSeqs)
            unaccounted[customer] = rest.isEmpty ? nil : rest
        }
        if entry.isErased { unaccounted[customer, default: []].insert(entry.seq) }
    }

    // MARK: - Ends

    private mutating func finishChain() {
        guard let app = appID else { return }
        let head = heads.removeValue(forKey: app)
        let faults = isBroken ? [] : [erasureFault, cutFault, fault(of: head)].compactMap { $0 }
        if let (seq, reason) = faults.min(by: { $0.seq < $1.seq }) {
            verdict.verified -= max(0, last.seq - max(seq - 1, proven[app]?.seq ?? 0))
            breakChain(at: seq, reason)
        } else if !isBroken, last.seq > 0 {
            verdict.heads.append(last)
        }
        finishedAppID = app
        appID = nil
    }

    private var erasureFault: (seq: Int, reason: String)? {
        unaccounted.values.joined().min().map { seq in
            (seq, "entry \(seq) was erased, but no redaction of its customer accounts for it")
        }
    }

    private var cutFault: (seq: Int, reason: String)? {
        guard let size = signed.last?.seq, size > last.seq else { return nil }
        let missing = last.seq + 1
        return (
            missing,
            "entry \(missing) is missing: prefix intact, \(size - last.seq) entries short of the \(size) of its checkpoint"
        )
    }

    private func fault(of head: ChainHead?) -> (seq: Int, reason: String)? {
        let next = last.seq + 1
        guard let head else {
            return (max(last.seq, 1), "audit.heads has no row, so nothing says that entry \(last.seq) is the last")
        }
        if head.seq > last.seq { return (next, "entry \(next) is missing: audit.heads counts \(head.seq) entries") }
        if head.seq < last.seq {
            return (head.seq + 1, "entry \(head.seq + 1) was added by somebody else: audit.heads counts \(head.seq)")
        }
        return head.hash == last.hash ? nil : (last.seq, "entry \(last.seq) was replaced: audit.heads has another hash")
    }
}
