public import LibPQ

/// Step ①: decides in one round trip whether a request may go on: key, rate, permission, validity, idempotency.
///
/// All of it is held in PostgreSQL, so any number of instances share it. The SQL stands in sql/functions/admission.sql.
/// What can't be let in, since it failed a moment ago, isn't asked about again: see ``CredentialMemory``.
public struct Admission: Sendable {
    /// Connections for credentials that haven't been right before on this instance, so that others always get theirs.
    private static let strangersLimit = 2

    private let pool: ConnectionPool
    /// Where apps are, if the database is distributed.
    private let homes: Homes?
    private let givenUp: GivenUpAttempts
    private let memory: CredentialMemory
    private let limits: Limits

    public init(
        pool: ConnectionPool, homes: Homes? = nil, givenUp: GivenUpAttempts, memory: CredentialMemory, limits: Limits
    ) {
        self.pool = pool
        self.homes = homes
        self.givenUp = givenUp
        self.memory = memory
        self.limits = limits
    }

    /// Admits a write. If it is unknown whether it was admitted, the attempt is given up.
    func admit(_ attempt: Attempt, _ credentials: Credentials) async throws(WriteError) -> Admitted {
        let pair = CredentialMemory.Pair(credentials)
        let subject = attempt.context.floodSubject
        guard !memory.fold(pair, subject, { attempt.folded }) else { return .folded }
        let statement = Statement(
            """
            SELECT (a.admission).*, (a.opened).opening, (a.opened).running_for_s, (a.opened).fence,
                   (a.opened).attempt_id, (a.opened).has_entry, ((a.opened).receipt).*
            FROM service.admit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS a
            """,
            checks(credentials, attempt.permissions, cost: attempt.cost, isValid: attempt.invalidity == nil) + [
                .uuid(attempt.id), .text(attempt.key.action.rawValue), .uuid(attempt.key.customerID),
                .uuid(attempt.idempotencyKey), .bytes(attempt.fingerprint),
                .text("\(limits.lease.milliseconds) ms"), .text("\(limits.idempotencyTTL.milliseconds) ms"),
                .text(JSON.object(attempt.context.members).text), .text(attempt.context.floodSubject),
            ]
        )
        do {
            let row = try await row(statement, credentials, deadline: attempt.deadline)
            let decision = try Decision(row, limits)
            note(decision, pair, subject)
            return try Admitted(attempt, decision, row)
        } catch {
            if error.leavesDoubt { givenUp.add(attempt.id) }
            guard !error.isUnavailability, !error.isRetryable else { throw .unavailable(error) }
            return Admitted(failed: error)
        }
    }

    /// Admits a read, which leaves no attempt behind.
    func authorize(
        _ credentials: Credentials, _ permissions: [Permission], isValid: Bool, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Decision {
        let pair = CredentialMemory.Pair(credentials)
        guard !memory.hasFailed(pair) else { return .unauthenticated }
        let statement = Statement(
            """
            SELECT * FROM service.authorize($1, $2, $3, $4, $5, $6, $7)
            """,
            checks(credentials, permissions, cost: 1, isValid: isValid)
        )
        let decision = try await Decision(row(statement, credentials, deadline: deadline), limits)
        note(decision, pair, nil)
        return decision
    }

    private func note(_ decision: Decision, _ pair: CredentialMemory.Pair, _ subject: String?) {
        guard decision.verdict == .unauthenticated else {
            if let caller = decision.caller { memory.note(pair, app: caller.appID) }
            return
        }
        guard let subject, let remaining = decision.retryAfter else { return memory.noteFailure(pair, flood: nil) }
        memory.noteFailure(
            pair, flood: (subject: subject, at: decision.decidedAt, remaining: .seconds(remaining)))
    }

    /// Admits a read that leaves an entry: floods are folded as those of writes are.
    func authorize(_ attempt: Attempt, _ credentials: Credentials) async throws(DatabaseError) -> Decision {
        let entry =
            attempt.context.members + [
                .init(name: "id", value: .string(attempt.id.text)),
                .init(name: "action", value: .string(attempt.key.action.rawValue)),
                .init(name: "customer_id", value: .string(attempt.key.customerID?.text)),
            ]
        let statement = Statement(
            "SELECT * FROM service.authorize($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            checks(credentials, attempt.permissions, cost: attempt.cost, isValid: attempt.invalidity == nil) + [
                .text(JSON.object(entry).text), .text(attempt.context.floodSubject),
            ]
        )
        let pair = CredentialMemory.Pair(credentials)
        let decision = try await Decision(row(statement, credentials, deadline: attempt.deadline), limits)
        note(decision, pair, nil)
        return decision
    }

    private func checks(
        _ credentials: Credentials, _ permissions: [Permission], cost: Int, isValid: Bool
    ) -> [Parameter] {
        [
            .text(credentials.clientKey), .bytes(credentials.secretDigest), .array(permissions.map(\.rawValue)),
            .int(cost), .int(limits.rateLimit), .text("\(limits.rateWindow.milliseconds) ms"), .bool(isValid),
        ]
    }

    private func row(
        _ statement: Statement, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Row {
        let appID = memory.app(of: CredentialMemory.Pair(credentials))
        let limit = appID == nil ? Self.strangersLimit : .max
        return try await Backoff.retrying(until: deadline) { () throws(DatabaseError) -> Row in
            var pool = pool
            if appID == nil, let homes {
                let app = try await homes.app(of: credentials, deadline: deadline)
                pool = try await pool.home(of: app, deadline: deadline)
            }
            return try await pool.withConnection(for: appID ?? .zero, atMost: limit, deadline: deadline) {
                connection throws(DatabaseError) in
                try await connection.query(statement, deadline: deadline).row()
            }
        }
    }
}

/// The API key behind a request.
public struct Caller: Sendable, Hashable {
    public let appID: UUID
    public let keyID: UUID
    public let clientKey: String
    public let name: String
    public let role: String
}

extension Admission {
    /// A decoded `service.admission`.
    struct Decision: Sendable {
        enum Verdict: String {
            case unauthenticated = "UNAUTHENTICATED"
            case rateLimited = "RATE_LIMITED"
            case forbidden = "FORBIDDEN"
            case invalid = "INVALID"
            case admitted = "ADMITTED"
        }

        let verdict: Verdict
        /// Seconds until the rate window ends, of a request over the limit; of a failed authentication that was folded,
        /// until the window of the flood does.
        let retryAfter: Int?
        /// When it was made, by the clock of the database, as it writes a time.
        let decidedAt: String
        /// nil before authentication.
        let caller: Caller?
        /// The client key that was tried, if it exists.
        let clientKey: String?
        let rate: RateStatus?
        /// Whether the attempt gets an entry of its own; a flood is folded into one.
        let isRecorded: Bool

        init(_ row: Row, _ limits: Limits) throws(DatabaseError) {
            verdict = try row.get("verdict")
            retryAfter = row.int("retry_after")
            decidedAt = try row.get("decided_at")
            isRecorded = try row.get("is_recorded")
            clientKey = row["client_key"]
            guard verdict != .unauthenticated else {
                caller = nil
                rate = nil
                return
            }
            caller = Caller(
                appID: try row.get("app_id"), keyID: try row.get("key_id"), clientKey: try row.get("client_key"),
                name: try row.get("key_name"), role: try row.get("key_role"))
            rate = RateStatus(
                limit: limits.rateLimit, remaining: try row.get("rate_remaining"), reset: try row.get("rate_reset"))
        }

        /// Of credentials that failed a moment ago.
        static let unauthenticated = Decision()

        private init() {
            verdict = .unauthenticated
            retryAfter = nil
            decidedAt = ""
            caller = nil
            clientKey = nil
            rate = nil
            isRecorded = false
        }

        /// The refusal that the verdict is, if it is one.
        var refusal: (outcome: Outcome, error: APIError)? {
            switch verdict {
            case .unauthenticated: (.unauthenticated, .invalidCredentials)
            case .rateLimited: (.rateLimited, .rateLimited(retryAfter: retryAfter ?? 1))
            case .forbidden: (.forbidden, .insufficientPermissions)
            case .invalid, .admitted: nil
            }
        }
    }

    /// A decoded `service.admitted`: the decision about a write, and its attempt.
    struct Admitted: Sendable {
        enum Verdict: Sendable {
            case run(Lease)
            case replay(Opened.Stored)
            case refused(Outcome, APIError)
        }

        let verdict: Verdict
        let caller: Caller?
        let clientKey: String?
        let rate: RateStatus?
        let decidedAt: String?
        let isRecorded: Bool
        /// Why admission failed for a reason that wasn't foreseen.
        let failure: Failure?

        var isReplay: Bool {
            if case .replay = verdict { true } else { false }
        }

        fileprivate init(_ attempt: Attempt, _ decision: Decision, _ row: Row) throws(DatabaseError) {
            caller = decision.caller
            clientKey = decision.clientKey
            rate = decision.rate
            decidedAt = decision.decidedAt
            isRecorded = decision.isRecorded
            failure = nil
            if let refusal = decision.refusal {
                verdict = .refused(refusal.outcome, refusal.error)
            } else if let invalidity = attempt.invalidity {
                verdict = .refused(.invalid, .invalid(invalidity))
            } else if let caller = decision.caller {
                switch try Opened(row, appID: caller.appID) {
                case .run(let lease): verdict = .run(lease)
                case .replay(let stored): verdict = .replay(stored)
                case .mismatch: verdict = .refused(.conflict, .keyUsedForOtherRequest)
                case .running(let seconds): verdict = .refused(.conflict, .inProgress(retryAfter: seconds))
                }
            } else {
                throw .unexpected("a write is admitted without a key")
            }
        }

        /// Of an attempt that was counted among those of a flood.
        fileprivate static let folded = Admitted()

        private init() {
            verdict = .refused(.unauthenticated, .invalidCredentials)
            caller = nil
            clientKey = nil
            rate = nil
            decidedAt = nil
            isRecorded = false
            failure = nil
        }

        fileprivate init(failed error: DatabaseError) {
            verdict = .refused(.failed, .unforeseen)
            caller = nil
            clientKey = nil
            rate = nil
            decidedAt = nil
            isRecorded = true
            failure = Failure(error)
        }
    }
}

extension Attempt {
    /// JSON text of what a folded entry tells of it.
    fileprivate var folded: String {
        JSON.object(context.members + [.init(name: "action", value: .string(key.action.rawValue))]).text
    }
}

/// The right to carry out an attempt: no other instance touches it until the lease is over, and one that takes it away
/// raises the fence first, so that the former holder can't commit any more.
public struct Lease: Sendable, Hashable {
    public let appID: UUID
    public let attemptID: UUID
    public internal(set) var fence: Int
}

/// A decoded `service.opened`: how far an attempt has come.
enum Opened: Sendable {
    case run(Lease)
    case replay(Stored)
    /// The key was used for another request.
    case mismatch
    /// The first request under this key is still running.
    case running(retryAfter: Int)

    /// The receipt of an earlier request under the same idempotency key.
    struct Stored: Sendable {
        let lease: Lease
        let receipt: Receipt
        /// Whether its audit entry is written already.
        let hasEntry: Bool
    }

    private enum Opening: String {
        case run = "RUN"
        case replay = "REPLAY"
        case running = "RUNNING"
        case mismatch = "MISMATCH"
    }

    init(_ row: Row, appID: UUID) throws(DatabaseError) {
        func lease() throws(DatabaseError) -> Lease {
            Lease(appID: appID, attemptID: try row.get("attempt_id"), fence: try row.get("fence"))
        }
        let opening: Opening = try row.get("opening")
        switch opening {
        case .run: self = .run(try lease())
        case .replay:
            self = .replay(
                Stored(lease: try lease(), receipt: try Receipt(row), hasEntry: try row.get("has_entry")))
        case .running: self = .running(retryAfter: try row.get("running_for_s"))
        case .mismatch: self = .mismatch
        }
    }
}
