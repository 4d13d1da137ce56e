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
    /// What can't be believed or compared of that which was to confirm the trail: checkpoints, not entries. Each says which
    /// chain it is about.
    public internal(set) var doubts: [Break] = []
    /// What is wrong with stored checkpoints and takes nothing away from what is confirmed.
    public internal(set) var remarks: [Break] = []
    /// How many of the given checkpoints the chains agree with.
    public internal(set) var agreements = 0
    /// The chains that aren't broken, and that no given checkpoint was compared with.
    public internal(set) var unconfirmed: [String] = []
    /// Those of them with entries that no checkpoint at all was compared with, stored ones included.
    public internal(set) var unsigned: [String] = []
    /// The chains with entries that aren't broken, and that no checkpoint with the wanted cosignatures was compared with.
    public internal(set) var unwitnessed: [String] = []
    /// The trees of the chains that aren't broken, in the order of their apps.
    public internal(set) var heads: [TreeHead] = []

    /// Why not everything holds; nil if it does. A break of the trail takes precedence.
    public var fault: Break? { broken ?? doubts.first }
}

/// The tree of a chain at some time: what a checkpoint signs.
public struct TreeHead: Sendable, Hashable {
    /// The chain, a UUID in lower case; the zero UUID for the chain of unauthenticated attempts.
    public let appID: String
    /// How many entries it covers: those up to this seq.
    public let size: Int
    /// The root of the Merkle tree of their hashes, 32 bytes.
    public let root: [UInt8]
}

/// What was said about the tree of a chain at some size, and what follows if the tree is another.
struct TreeClaim: Sendable, Hashable {
    enum Source: Sendable, Hashable {
        /// It was given to the verification: the chain is broken.
        case given
        /// It is kept beside the trail, signed by this log's key: the chain is broken. Without that key, this may be
        /// another's signature.
        case stored(keyIsKnown: Bool)
        /// It is kept beside the trail, signed by another key, which may be an earlier one: if the tree is another, that is
        /// wrong, as this sentence says, and not the chain.
        case foreign(String)
    }

    let head: TreeHead
    let source: Source
    /// Whether all witnesses whose cosignatures are wanted have cosigned it. What is given without them isn't taken at all.
    var isWitnessed = true

    fileprivate var isBinding: Bool { if case .foreign = source { false } else { true } }
    /// What the sentence about a break has to add.
    fileprivate var caveat: String {
        source == .stored(keyIsKnown: false)
            ? "; or the stored checkpoint of \(head.size) entries isn't this log's, which --public-key tells" : ""
    }
}

/// Faults of one kind, of which the first is named and the others are counted: there can be any number.
struct Faults: Sendable, Hashable {
    private var first: String?
    private var others = 0

    mutating func add(_ sentence: String) {
        if first == nil { first = sentence } else { others += 1 }
    }

    /// nil if there is none.
    var sentence: String? { first.map { others == 0 ? $0 : "\($0), and \(others) more are like it" } }
}

/// Where a verification may begin: an entry that a checkpoint covers, and the tree up to it.
struct ProvenStart: Sendable, Hashable {
    let head: ChainHead
    let edge: TreeEdge
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
    /// What `audit.nodes` has of chains that aren't finished, and the entries haven't explained yet; none of chains whose
    /// nodes don't come.
    private var nodes: [String: [Subtree: [UInt8]]] = [:]
    /// What was signed of chains that aren't begun, shortest first.
    private var checkpoints: [String: [TreeClaim]]
    /// Up to where chains were proven before, and aren't looked at.
    private let proven: [String: ProvenStart]
    /// The chain that is being followed.
    private var appID: String?
    /// The entry after which it was begun.
    private var start = ChainHead.genesis("")
    /// The chain that was finished last.
    private var finishedAppID: String?
    /// The last entry of the chain that was proven.
    private var last = ChainHead.genesis("")
    /// The tree up to ``last``.
    private var tree = TreeEdge()
    private var isBroken = false
    /// What was signed of the chain, after ``last``.
    private var signed: [TreeClaim] = []
    /// The size of the last checkpoint that the chain agrees with.
    private var agreed = 0
    /// Whether a given checkpoint was compared with the chain, whether any was, and whether one with the wanted cosignatures.
    private var (isConfirmed, isSigned, isWitnessed) = (false, false, false)
    private var erasures = UndeclaredErasures()
    /// What was signed of the chain by other keys and isn't so.
    private var foreign = Faults()

    /// - Parameters:
    ///   - checkpoints: trees that were signed, at most those of the chains that will come.
    ///   - proven: by app, where to begin instead of entry 1: the next entry will come first.
    init(checkpoints: [TreeHead] = [], proven: [String: ProvenStart] = [:]) {
        self.proven = proven
        self.checkpoints = Dictionary(grouping: checkpoints, by: \.appID).mapValues { heads in
            heads.sorted { $0.size < $1.size }.map { TreeClaim(head: $0, source: .given) }
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

    /// Takes stored nodes of a chain, before the last of the entries that a node covers. Once it was called for a chain,
    /// each node of its tree has to come.
    mutating func take(_ nodes: [TreeNode], of app: String) {
        for node in nodes { self.nodes[app, default: [:]][node.place] = node.hash }
        if nodes.isEmpty, self.nodes[app] == nil { self.nodes[app] = [:] }
    }

    /// Takes what was signed of a chain, before its first entry.
    mutating func take(_ claim: TreeClaim) {
        var signed = checkpoints[claim.head.appID] ?? []
        signed.insert(claim, at: signed.firstIndex { $0.head.size > claim.head.size } ?? signed.endIndex)
        checkpoints[claim.head.appID] = signed
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
        let complete = tree.append(leaf: MerkleHash.leaf(entry.hash))
        if let fault = treeFault(complete) { return breakChain(at: entry.seq, fault) }
        erasures.take(entry)
        last = ChainHead(appID: entry.appID, seq: entry.seq, hash: entry.hash)
        while let claim = signed.first, claim.head.size == last.seq {
            signed.removeFirst()
            agree(claim)
        }
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
        let others = nodes.filter { !$0.value.isEmpty }.keys
        for app in Set(heads.keys).union(checkpoints.keys).union(traces.keys).union(parts.keys).union(others).sorted() {
            begin(app)
            finishChain()
        }
        verdict.heads.sort { $0.appID < $1.appID }
        return verdict
    }

    private mutating func begin(_ app: String) {
        appID = app
        let part = parts[app]
        start = part?.start ?? proven[app]?.head ?? .genesis(app)
        last = start
        tree = part?.edge ?? proven[app]?.edge ?? TreeEdge()
        isBroken = false
        (isConfirmed, isSigned, isWitnessed) = (false, false, false)
        signed = (checkpoints.removeValue(forKey: app) ?? []).filter { $0.head.size >= start.seq }
        if let part {
            verdict.parts += 1
            signed.removeAll { $0.head.size > part.last ?? Int.max }
            if signed.contains(where: { $0.head.size == start.seq && $0.head.root != tree.root }) {
                breakChain(at: start.seq + 1, "the part doesn't follow from the checkpoint of \(start.seq) entries")
            }
        }
        // A part may begin anywhere; only a checkpoint confirms what comes before it.
        agreed = part == nil ? start.seq : 0
        while let claim = signed.first, claim.head.size == start.seq {
            signed.removeFirst()
            agree(claim)
        }
        erasures = UndeclaredErasures()
        foreign = Faults()
        verdict.chains += 1
    }

    /// The chain has the root of a claim, unless that isn't this log's.
    private mutating func agree(_ claim: TreeClaim) {
        guard claim.isBinding else { return }
        agreed = claim.head.size
        isSigned = true
        isWitnessed = isWitnessed || claim.isWitnessed
        guard claim.source == .given else { return }
        isConfirmed = true
        verdict.agreements += 1
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
        return nil
    }

    /// What is wrong with the tree up to an entry.
    ///
    /// - Parameter complete: the nodes that are complete with it.
    private mutating func treeFault(_ complete: [TreeNode]) -> String? {
        let due = signed.prefix { $0.head.size == tree.size }
        if !due.isEmpty {
            let root = tree.root
            let wrong = due.filter { $0.head.root != root }
            wrong.forEach { note($0, "has another root than the chain") }
            if let claim = wrong.first(where: \.isBinding) {
                let start = agreed == 0 ? "" : ", but after entry \(agreed), which an earlier checkpoint confirms"
                return """
                    the chain forks from its checkpoint: it was rewritten at entry \(tree.size) or before\(start)\
                    \(claim.caveat)
                    """
            }
        }
        guard let appID, nodes[appID] != nil else { return nil }
        for node in complete {
            let stored = nodes[appID]?.removeValue(forKey: node.place)
            guard stored != node.hash else { continue }
            return "node \(node) of audit.nodes \(stored == nil ? "is missing" : "isn't the hash of its entries")"
        }
        return nil
    }

    /// Says of a claim that isn't this log's what is wrong with it.
    private mutating func note(_ claim: TreeClaim, _ end: String) {
        if case .foreign(let sentence) = claim.source { foreign.add("\(sentence), and \(end)") }
    }

    // MARK: - Ends

    private mutating func finishChain() {
        guard let app = appID else { return }
        let head = heads.removeValue(forKey: app)
        let trace = traces.removeValue(forKey: app)
        let unexplained = nodes.removeValue(forKey: app)?.keys.min { ($0.end, $0.height) < ($1.end, $1.height) }
        // Of several faults at one entry, the first counts.
        let faults =
            if isBroken {
                [Fault?]()
            } else if let end = parts[app]?.last {
                // What comes after the part could declare an erasure, and has the head.
                [fault(ofPartUpTo: end)]
            } else {
                [erasures.fault, cutFault, fault(of: head, trace), fault(of: trace), fault(of: unexplained)]
            }
        parts[app] = nil
        if let (seq, reason) = faults.compactMap({ $0 }).min(by: { $0.seq < $1.seq }) {
            verdict.verified -= max(0, last.seq - max(seq - 1, start.seq))
            breakChain(at: seq, reason)
        } else if !isBroken {
            for claim in signed { note(claim, "covers more entries than there are") }
            if !isConfirmed { verdict.unconfirmed.append(app) }
            if last.seq > 0, !isSigned { verdict.unsigned.append(app) }
            if last.seq > 0, !isWitnessed { verdict.unwitnessed.append(app) }
            if last.seq > 0 { verdict.heads.append(TreeHead(appID: app, size: last.seq, root: tree.root)) }
        }
        if let sentence = foreign.sentence {
            verdict.remarks.append(.init(appID: app, seq: nil, reason: sentence))
        }
        finishedAppID = app
        appID = nil
    }

    private var cutFault: Fault? {
        guard let claim = signed.last(where: \.isBinding), claim.head.size > last.seq else { return nil }
        let (missing, size) = (last.seq + 1, claim.head.size)
        return (
            missing,
            """
            entry \(missing) is missing: prefix intact, \(size - last.seq) entries short of the \(size) of its \
            checkpoint\(claim.caveat)
            """
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

    private func fault(of unexplained: Subtree?) -> Fault? {
        guard let node = unexplained else { return nil }
        return (
            last.seq + 1, "entry \(last.seq + 1) is missing: node \(node.text) of audit.nodes covers entry \(node.end)"
        )
    }
}

/// The erased entries of a chain that no declaration has followed yet.
///
/// One declaration of a customer covers all earlier entries of the customer, so the first of them is enough to remember.
/// One of a retention covers the contexts of all entries up to a seq, so ranges of them are.
private struct UndeclaredErasures {
    private var first: [String: Int] = [:]
    private var contexts: [ClosedRange<Int>] = []

    mutating func take(_ entry: ChainEntry) {
        if let end = entry.contextsErasedUpTo {
            contexts = contexts.compactMap { range in
                range.upperBound <= end ? nil : max(range.lowerBound, end + 1)...range.upperBound
            }
        }
        if entry.isContextErased {
            if let last = contexts.last, last.upperBound + 1 == entry.seq {
                contexts[contexts.count - 1] = last.lowerBound...entry.seq
            } else {
                contexts.append(entry.seq...entry.seq)
            }
        }
        guard let customer = entry.customerID else { return }
        if entry.declaresErasure { first[customer] = nil }
        if entry.isErased { first[customer] = first[customer] ?? entry.seq }
    }

    var fault: (seq: Int, reason: String)? {
        let subject = first.values.min().map {
            ($0, "entry \($0) was erased, but no later redaction of its customer declares that")
        }
        let context = contexts.first.map { range in
            (
                range.lowerBound,
                "the context of entry \(range.lowerBound) was erased, but no later retention declares that"
            )
        }
        guard let subject, let context else { return subject ?? context }
        return subject.0 <= context.0 ? subject : context
    }
}
