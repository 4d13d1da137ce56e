import Crypto
import LibPQ
import NIOConcurrencyHelpers

/// What this instance remembers of the credentials that it has seen, so that a flood of wrong ones costs the database
/// little, and those that were right before are never kept waiting by it.
///
/// It never lets a request in: credentials that aren't known to be wrong are always put to the database. What failed can't
/// become right within ``span``, since secrets are random and made by the database's owner. An attempt is answered from
/// here only when it would be folded into a flood anyway; it is counted here, and ``takeFolded()`` returns the counts.
///
/// Memory is bounded: see ``capacity``.
public final class CredentialMemory: Sendable {
    /// How long what failed isn't put to the database again.
    private static let span = Duration.seconds(2)
    /// Of each of the three kinds of memory.
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
        let subject: String
        /// A moment of the flood's window, by the clock of the database, as it writes a time.
        let at: String
        var count: Int
        /// JSON text of the last of them.
        var entry: String
    }

    private struct Flood {
        let at: String
        let until: ContinuousClock.Instant
    }

    private struct State {
        var apps: [Pair: UUID] = [:]
        var failed: [Pair: ContinuousClock.Instant] = [:]
        /// Subjects whose failures are folded now.
        var floods: [String: Flood] = [:]
        var folded: [String: Folded] = [:]
    }

    private let state = NIOLockedValueBox(State())

    public init() {}

    /// The app that the credentials last belonged to; nil for strangers.
    func app(of pair: Pair) -> UUID? {
        state.withLockedValue { $0.apps[pair] }
    }

    /// Whether the credentials failed a moment ago.
    func hasFailed(_ pair: Pair) -> Bool {
        state.withLockedValue { $0.failed[pair].map { $0 > .now } ?? false }
    }

    /// Counts an attempt at a write with credentials that failed a moment ago, of a flood that is being folded.
    ///
    /// - Parameter entry: JSON text of what the request makes of its audit entry.
    /// - Returns: false if it is for the database to decide.
    func fold(_ pair: Pair, _ subject: String, _ entry: () -> String) -> Bool {
        state.withLockedValue { state in
            let now = ContinuousClock.now
            guard let failed = state.failed[pair], failed > now, let flood = state.floods[subject], flood.until > now
            else { return false }
            let key = "\(flood.at) \(subject)"
            var folded = state.folded[key] ?? Folded(subject: subject, at: flood.at, count: 0, entry: "")
            folded.count += 1
            folded.entry = entry()
            state.folded[key] = folded
            return true
        }
    }

    /// Remembers credentials that were right.
    func note(_ pair: Pair, app: UUID) {
        state.withLockedValue { state in
            guard state.apps[pair] != app else { return }
            if state.apps.count >= Self.capacity { state.apps = [:] }
            state.apps[pair] = app
        }
    }

    /// Remembers credentials that were wrong.
    ///
    /// - Parameter flood: of an attempt that was folded, what it was counted by, when that was, and how long the window
    ///   of the flood is open yet.
    func noteFailure(_ pair: Pair, flood: (subject: String, at: String, remaining: Duration)?) {
        state.withLockedValue { state in
            let now = ContinuousClock.now
            state.apps[pair] = nil
            if state.failed.count >= Self.capacity {
                state.failed = state.failed.filter { $0.value > now }
                if state.failed.count >= Self.capacity { state.failed = [:] }
            }
            state.failed[pair] = now + Self.span
            guard let flood, flood.remaining > .zero else { return }
            if state.floods.count >= Self.capacity {
                state.floods = state.floods.filter { $0.value.until > now }
                if state.floods.count >= Self.capacity { state.floods = [:] }
            }
            state.floods[flood.subject] = Flood(at: flood.at, until: now + min(Self.span, flood.remaining))
        }
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
            for one in folded {
                let key = "\(one.at) \(one.subject)"
                var sum = one
                if let newer = state.folded[key] { (sum.count, sum.entry) = (one.count + newer.count, newer.entry) }
                state.folded[key] = sum
            }
        }
    }
}
