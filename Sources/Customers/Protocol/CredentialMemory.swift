import Crypto
import LibPQ
import NIOConcurrencyHelpers

/// What this instance remembers of the credentials that it has seen, so that a flood of wrong ones, or of ones over their
/// limit, costs the database little, and all others are never kept waiting by it.
///
/// It never admits a request: it only repeats refusals for a moment, and knows which credentials were admitted for what, so
/// that a read can be asked along with its admission. What failed can't become right within ``span``, since secrets are
/// random and made by the database's owner. A key that has nothing left gets nothing before its window ends, and what is
/// remembered of it ends before. A write is answered from here only when it would be folded into a flood anyway; it is
/// counted here, and ``takeFolded()`` returns the counts.
///
/// Memory is bounded: see ``capacity``.
public final class CredentialMemory: Sendable {
    /// How long what was refused isn't put to the database again.
    private static let span = Duration.seconds(2)
    /// So many refusals are the database's before a key's reads count as a flood.
    private static let singleRefusals = 20
    /// Of each of the four kinds of memory.
    private static let capacity = 4096

    /// A client key with a secret, as a digest of both.
    struct Pair: Hashable, Sendable {
        private let digest: [UInt8]

        init(_ credentials: Credentials) {
            var hash = SHA256()
            hash.update(data: credentials.secretDigest)
            hash.update(data: Array((credentials.clientKey ?? "").utf8))
            digest = Array(hash.finalize())
        }
    }

    /// Attempts that have no entry of their own.
    struct Folded: Sendable {
        /// The app of the key that was over its limit; nil for failed authentications.
        let appID: UUID?
        /// What the flood is counted by: an address, or the id of a key.
        let subject: String
        /// A moment of the flood's window, by the clock of the database, as it writes a time.
        let at: String
        var count: Int
        /// JSON text of the last of them.
        var entry: String

        fileprivate var key: String { "\(at) \(subject)" }
    }

    private struct Flood {
        let at: String
        let until: ContinuousClock.Instant
    }

    /// A key that has nothing left in its window.
    private struct Exhaustion {
        let refusal: Admission.Decision
        let since: ContinuousClock.Instant
        let until: ContinuousClock.Instant
        /// Whether further writes of its window get no entries of their own.
        let isFolded: Bool
        /// How often the database has refused it lately.
        let refusals: Int

        /// Whether reads are answered from here, too: beyond some, so that single ones are the database's to decide, whose
        /// window may be changed at any time.
        var isFlood: Bool { isFolded || refusals >= CredentialMemory.singleRefusals }

        /// The refusal as it is now. Rounded up, as the database does: a client that waits so long is let in.
        func refusal(at now: ContinuousClock.Instant) -> Admission.Decision {
            var refusal = refusal
            refusal.isRecorded = false
            refusal.retryAfter = max(1, refusal.retryAfter - Int((now - since).components.seconds))
            return refusal
        }
    }

    /// Credentials that were right.
    private struct Known {
        let appID: UUID
        /// What they have been admitted for.
        var granted: Set<Permission> = []
    }

    private struct State {
        var known: [Pair: Known] = [:]
        var failed: [Pair: ContinuousClock.Instant] = [:]
        /// Subjects whose failures are folded now.
        var floods: [String: Flood] = [:]
        var exhausted: [Pair: Exhaustion] = [:]
        var folded: [String: Folded] = [:]

        mutating func fold(_ newer: Folded) {
            guard var sum = folded[newer.key] else { return folded[newer.key] = newer }
            sum.count += newer.count
            sum.entry = newer.entry
            folded[newer.key] = sum
        }
    }

    private let state = NIOLockedValueBox(State())

    public init() {}

    /// The app that the credentials last belonged to; nil for strangers.
    func app(of pair: Pair) -> UUID? {
        state.withLockedValue { $0.known[pair]?.appID }
    }

    /// The same, if the credentials have been admitted for all of this before, on this instance.
    func app(of pair: Pair, admittedFor permissions: [Permission]) -> UUID? {
        state.withLockedValue { state in
            guard let known = state.known[pair], known.granted.isSuperset(of: permissions) else { return nil }
            return known.appID
        }
    }

    /// The refusal of a read whose credentials failed, or had nothing left, a moment ago; nil if the database decides.
    func refusal(of pair: Pair) -> Admission.Decision? {
        state.withLockedValue { state in
            let now = ContinuousClock.now
            if let failed = state.failed[pair], failed > now { return .unauthenticated }
            guard let exhausted = state.exhausted[pair], exhausted.until > now, exhausted.isFlood else { return nil }
            return exhausted.refusal(at: now)
        }
    }

    /// Counts an attempt that leaves an entry, whose credentials failed, or had nothing left, a moment ago, of a flood that
    /// is being folded.
    ///
    /// - Parameter entry: JSON text of what the request makes of its audit entry, by the key if there is one.
    /// - Returns: its refusal; nil if it is for the database to decide.
    func fold(_ pair: Pair, _ subject: String, _ entry: (Caller?) -> String) -> Admission.Decision? {
        state.withLockedValue { state in
            let now = ContinuousClock.now
            if let failed = state.failed[pair], failed > now {
                guard let flood = state.floods[subject], flood.until > now else { return nil }
                state.fold(Folded(appID: nil, subject: subject, at: flood.at, count: 1, entry: entry(nil)))
                return .unauthenticated
            }
            guard let exhausted = state.exhausted[pair], exhausted.until > now, exhausted.isFolded,
                let caller = exhausted.refusal.caller
            else { return nil }
            state.fold(
                Folded(
                    appID: caller.appID, subject: caller.keyID.text, at: exhausted.refusal.decidedAt, count: 1,
                    entry: entry(caller)))
            return exhausted.refusal(at: now)
        }
    }

    /// Remembers credentials that were right.
    ///
    /// - Parameter granted: what they were admitted for.
    func note(_ pair: Pair, app: UUID, granted: [Permission]) {
        state.withLockedValue { state in
            var known = Known(appID: app)
            if let before = state.known[pair], before.appID == app {
                guard !before.granted.isSuperset(of: granted) else { return }
                known = before
            } else if state.known.count >= Self.capacity {
                state.known = [:]
            }
            known.granted.formUnion(granted)
            state.known[pair] = known
        }
    }

    /// Remembers credentials that were wrong.
    ///
    /// - Parameter flood: of an attempt that was folded, what it was counted by, when that was, and how long the window
    ///   of the flood is open yet.
    func noteFailure(_ pair: Pair, flood: (subject: String, at: String, remaining: Duration)?) {
        state.withLockedValue { state in
            let now = ContinuousClock.now
            state.known[pair] = nil
            state.exhausted[pair] = nil
            Self.makeRoom(&state.failed) { $0 > now }
            state.failed[pair] = now + Self.span
            guard let flood, flood.remaining > .zero else { return }
            Self.makeRoom(&state.floods) { $0.until > now }
            state.floods[flood.subject] = Flood(at: flood.at, until: now + min(Self.span, flood.remaining))
        }
    }

    /// Remembers that a key was over its limit, if it has nothing left.
    ///
    /// - Parameters:
    ///   - isFolded: whether the attempt was folded into a flood, as further writes of the window are then.
    ///   - start: a moment before the database decided, so that what is remembered ends before the window does.
    func noteLimit(_ pair: Pair, _ refusal: Admission.Decision, isFolded: Bool, since start: ContinuousClock.Instant) {
        guard refusal.rate?.remaining == 0 else { return }
        // Rounded up to whole seconds: up to one less is left of the window.
        let until = start + min(Self.span, .seconds(refusal.retryAfter - 1))
        state.withLockedValue { state in
            let now = ContinuousClock.now
            guard until > now else { return }
            Self.makeRoom(&state.exhausted) { $0.until > now }
            let lately = state.exhausted[pair].map { $0.until + Self.span > now ? $0.refusals : 0 } ?? 0
            state.exhausted[pair] = Exhaustion(
                refusal: refusal, since: now, until: until, isFolded: isFolded, refusals: lately + 1)
        }
    }

    /// Forgets what is over, or all if nothing is.
    private static func makeRoom<Key, Value>(_ memory: inout [Key: Value], _ isCurrent: (Value) -> Bool) {
        guard memory.count >= capacity else { return }
        memory = memory.filter { isCurrent($0.value) }
        if memory.count >= capacity { memory = [:] }
    }

    /// What was counted since the last time, for the caller to hand to the database.
    func takeFolded() -> [Folded] {
        state.withLockedValue { state in
            defer { state.folded = [:] }
            return Array(state.folded.values)
        }
    }

    /// Takes back counts that couldn't be stored.
    func putBack(_ folded: [Folded]) {
        state.withLockedValue { state in
            for older in folded {
                let newer = state.folded[older.key]
                state.folded[older.key] = older
                if let newer { state.fold(newer) }
            }
        }
    }
}
