/// What a verification has found, over all chains that were looked at.
public struct ChainVerdict: Sendable, Hashable {
    /// Where a chain is broken first.
    public struct Break: Sendable, Hashable {
        /// The chain, a UUID in lower case; the zero UUID for the chain of unauthenticated attempts. nil if no chain in
        /// particular is broken.
        public let appID: String?
        /// The first entry that is missing or was altered; nil if no entry in particular was.
        public let seq: Int?
        /// In words.
        public let reason: String
    }

    /// How many entries there are.
    public internal(set) var entries = 0
    /// How many of them are proven: all up to the break of their chain.
    public internal(set) var verified = 0
    /// How many chains there are.
    public internal(set) var chains = 0
    /// How many of them were exported in part: nothing is proven of their other entries.
    public internal(set) var parts = 0
    /// The break of the first broken chain, in the order of their apps.
    public internal(set) var broken: Break?
    /// The ends of the chains that aren't broken, in the order of their apps.
    public internal(set) var heads: [ChainHead] = []
}

/// Follows chains entry by entry. A pure value: ``ChainVerifier`` feeds it from the database, ``ExportVerifier`` from an
/// export.
struct ChainWalk: Sendable {
    private typealias Fault = (seq: Int, reason: String)

    private(set) var verdict = ChainVerdict()
    /// What `audit.heads` says of chains that aren't finished.
    private var heads: [String: ChainHead] = [:]
    /// Which chains that aren't finished are there in part.
    private var parts: [String: ChainPart] = [:]
    /// What other tables say of chains that aren't finished.
    private var traces: [String: ChainTrace] = [:]
    /// What was signed of chains that aren't begun, shortest first.
    private var checkpoints: [String: [ChainHead]]
    /// Up to where chains were proven before, and aren't looked at.
    private let proven: [String: ChainHead]
    /// The chain that is being followed.
    private var appID: String?
    /// The entry after which it was begun.
    private var start = ChainHead.genesis("")
    /// The chain that was finished last.
    private var finishedAppID: String?
    /// The last entry of the chain that was proven.
    private var last = ChainHead.genesis("")
    private var isBroken = false
    /// What was signed of the chain, after ``last``.
    private var signed: [ChainHead] = []
    /// The size of the last checkpoint that the chain agrees with.
    private var agreed = 0
    private var erasures = UndeclaredErasures()

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

    /// Takes that only a part of a chain comes, before the first entry of the chain.
    mutating func take(_ part: ChainPart) {
        parts[part.start.appID] = part
    }

    /// Takes what another table says of a chain, at the latest after its last entry.
    mutating func take(_ trace: ChainTrace) {
        if trace.seq > traces[trace.appID]?.seq ?? 0 { traces[trace.appID] = trace }
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
        if let fault = fault(of: entry) { return breakChain(at: fault.seq, fault.reason) }
        erasures.take(entry)
        last = ChainHead(appID: entry.appID, seq: entry.seq, hash: entry.hash)
        while signed.first?.seq == last.seq { agreed = signed.removeFirst().seq }
        verdict.verified += 1
    }

    /// Ends at an entry that can't be read.
    mutating func stop(_ reason: String) -> ChainVerdict {
        if !isBroken { breakChain(at: appID == nil ? nil : last.seq + 1, reason) }
        return verdict
    }

    /// - Returns: what was found, once the last entry was taken.
    mutating func finish() -> ChainVerdict {
        finishChain()
        // Chains without entries, of which only something else tells.
        for app in Set(heads.keys).union(checkpoints.keys).union(traces.keys).union(parts.keys).sorted() {
            begin(app)
            finishChain()
        }
        verdict.heads.sort { $0.appID < $1.appID }
        return verdict
    }

    private mutating func begin(_ app: String) {
        appID = app
        let part = parts[app]
        start = part?.start ?? proven[app] ?? .genesis(app)
        last = start
        isBroken = false
        signed = (checkpoints.removeValue(forKey: app) ?? []).filter { $0.seq >= start.seq }
        if let part {
            verdict.parts += 1
            signed.removeAll { $0.seq > part.last ?? Int.max }
            if signed.contains(where: { $0.seq == start.seq && $0.hash != start.hash }) {
                breakChain(at: start.seq + 1, "the part doesn't follow from the checkpoint of \(start.seq) entries")
            }
        }
        // A part may begin anywhere; only a checkpoint confirms what comes before it.
        agreed = part == nil || signed.contains { $0.seq == start.seq } ? start.seq : 0
        signed.removeAll { $0.seq == start.seq }
        erasures = UndeclaredErasures()
        verdict.chains += 1
    }

    private mutating func breakChain(at seq: Int?, _ reason: String) {
        isBroken = true
        // A chain that has lost all its entries is looked at last, but may come first.
        if let first = verdict.broken?.appID, let appID, first <= appID { return }
        verdict.broken = ChainVerdict.Break(appID: appID, seq: seq, reason: reason)
    }

    private func fault(of entry: ChainEntry) -> Fault? {
        let seq = entry.seq
        guard seq <= last.seq + 1 else { return (last.seq + 1, "entry \(last.seq + 1) is missing") }
        guard seq == last.seq + 1 else { return (seq, "there is a second entry \(seq)") }
        if let fault = entry.fault { return (seq, "entry \(seq) was changed: \(fault)") }
        guard entry.previousHash == last.hash else {
            let before = last.seq == 0 ? "32 zero bytes" : "the hash of entry \(last.seq)"
            return (seq, "the previous_hash of entry \(seq) isn't \(before): one of them was replaced")
        }
        guard signed.prefix(while: { $0.seq == seq }).allSatisfy({ $0.hash == entry.hash }) else {
            let start = agreed == 0 ? "" : ", but after entry \(agreed), which an earlier checkpoint confirms"
            return (seq, "the chain forks from its checkpoint: it was rewritten at entry \(seq) or before\(start)")
        }
        return nil
    }

    // MARK: - Ends

    private mutating func finishChain() {
        guard let app = appID else { return }
        let head = heads.removeValue(forKey: app)
        let trace = traces.removeValue(forKey: app)
        // Of several faults at one entry, the first counts.
        let faults =
            if isBroken {
                [Fault?]()
            } else if let end = parts[app]?.last {
                // What comes after the part could declare an erasure, and has the head.
                [fault(ofPartUpTo: end)]
            } else {
                [erasures.fault, cutFault, fault(of: head, trace), fault(of: trace)]
            }
        parts[app] = nil
        if let (seq, reason) = faults.compactMap({ $0 }).min(by: { $0.seq < $1.seq }) {
            verdict.verified -= max(0, last.seq - max(seq - 1, start.seq))
            breakChain(at: seq, reason)
        } else if !isBroken, last.seq > 0 {
            verdict.heads.append(last)
        }
        finishedAppID = app
        appID = nil
    }

    private var cutFault: Fault? {
        guard let size = signed.last?.seq, size > last.seq else { return nil }
        let missing = last.seq + 1
        return (
            missing,
            "entry \(missing) is missing: prefix intact, \(size - last.seq) entries short of the \(size) of its checkpoint"
        )
    }

    private func fault(ofPartUpTo end: Int) -> Fault? {
        guard end != last.seq else { return nil }
        return end > last.seq
            ? (last.seq + 1, "entry \(last.seq + 1) is missing: the part ends with entry \(end)")
            : (end + 1, "entry \(end + 1) isn't in the part, which ends with entry \(end)")
    }

    private func fault(of head: ChainHead?, _ trace: ChainTrace?) -> Fault? {
        let next = last.seq + 1
        guard let head else {
            // Nothing but a trace is left: that fault says more.
            if last.seq == 0, trace != nil { return nil }
            return (max(last.seq, 1), "audit.heads has no row, so nothing confirms that entry \(last.seq) is the last")
        }
        if head.seq > last.seq { return (next, "entry \(next) is missing: audit.heads counts \(head.seq) entries") }
        if head.seq < last.seq {
            return (head.seq + 1, "entry \(head.seq + 1) isn't in audit.heads, which counts \(head.seq) entries")
        }
        return head.hash == last.hash ? nil : (last.seq, "entry \(last.seq) was replaced: audit.heads has another hash")
    }

    private func fault(of trace: ChainTrace?) -> Fault? {
        guard let trace, trace.seq > last.seq else { return nil }
        return (last.seq + 1, "entry \(last.seq + 1) is missing: \(trace.source) refers to entry \(trace.seq)")
    }
}

/// The erased entries of a chain that no declaration has followed yet. One declaration of a customer covers all
/// earlier entries of the customer, so the first of them is enough to remember.
///
/// Another kind of erasure, such as that of the context after a retention period, is one more such table.
private struct UndeclaredErasures {
    private var first: [String: Int] = [:]

    mutating func take(_ entry: ChainEntry) {
        guard let customer = entry.customerID else { return }
        if entry.declaresErasure { first[customer] = nil }
        if entry.isErased { first[customer] = first[customer] ?? entry.seq }
    }

    var fault: (seq: Int, reason: String)? {
        first.values.min().map { ($0, "entry \($0) was erased, but no later redaction of its customer declares that") }
    }
}
