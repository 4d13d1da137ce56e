public import LibPQ

/// Step ①: decides in one round trip whether a request is admitted: key, rate, permission, validity, idempotency.
///
/// All of it is held in PostgreSQL, so any number of instances share it. The SQL stands in sql/functions/authorization.sql and
/// admission.sql. Credentials that failed, and keys that had no budget left, a moment ago are refused from memory: see
/// ``CredentialMemory``.
public struct Admission: Sendable {
    /// Connections for credentials that haven't been right before on this instance, so that others always get theirs.
    private static let strangersLimit = 2

    /// How long a 429 from memory is delayed: otherwise a client that keeps sending would use up the processor, since the
    /// database doesn't slow it down.
    private static let restraint = Duration.milliseconds(20)

    private let pool: ConnectionPool
    private let givenUp: GivenUpAttempts
    private let memory: CredentialMemory
    private let limits: Limits

    public init(pool: ConnectionPool, givenUp: GivenUpAttempts, memory: CredentialMemory, limits: Limits) {
        self.pool = pool
        self.givenUp = givenUp
        self.memory = memory
        self.limits = limits
    }

    /// Admits a write. If it is unknown whether it was admitted, the attempt is given up.
    func admit(_ attempt: Attempt, _ credentials: Credentials) async throws(WriteError) -> Admitted {
        let pair = CredentialMemory.Pair(credentials)
        if let refusal = memory.fold(pair, attempt.context.floodSubject, attempt.folded) {
            await Self.restrain(refusal)
            return Admitted(refused: refusal)
        }
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
            let (decision, row) = try await decide(
                statement, pair, attempt.permissions, countedBy: attempt.context.floodSubject,
                deadline: attempt.deadline)
            return try Admitted(attempt, decision, row)
        } catch {
            if error.leavesDoubt { givenUp.add(attempt.id) }
            guard !error.isUnavailability, !error.isRetryable else { throw .unavailable(error) }
            return Admitted(failed: error)
        }
    }

    /// Admits a read, which leaves no attempt behind.
    ///
    /// - Parameters:
    ///   - ip: the address of the client.
    ///   - question: what the read asks the database about an app. It is asked in the same round trip if the credentials
    ///     have been admitted for as much before; the answer is for an admitted caller alone.
    /// - Returns: the decision, and what the question came to if it was asked, about the caller's app.
    func authorize(
        _ credentials: Credentials, from ip: String, _ permissions: [Permission], isValid: Bool,
        asking question: ((UUID) -> Statement)? = nil, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (decision: Decision, found: Result<QueryResult, DatabaseError>?) {
        let pair = CredentialMemory.Pair(credentials)
        if let refusal = memory.refusal(of: pair) {
            await Self.restrain(refusal)
            return (refusal, nil)
        }
        let statement = authorizing(checks(credentials, permissions, isValid: isValid), from: ip)
        guard let question, let appID = memory.app(of: pair, admittedFor: permissions) else {
            return (try await decide(statement, pair, permissions, deadline: deadline).decision, nil)
        }
        let (start, query) = (ContinuousClock.now, question(appID))
        let (first, found) = try await pool.repeating(for: appID, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.queries(statement, query, deadline: deadline)
        }
        let decision = try decision(try first.row(), pair, permissions, since: start)
        return (decision, decision.caller?.appID == appID ? found : nil)
    }

    /// Whether a request has credentials that may do this now. It spends nothing, and decides nothing: admission does.
    func wouldAdmit(_ permissions: [Permission], _ request: APIRequest) async throws(DatabaseError) -> Bool {
        let pair = CredentialMemory.Pair(request.credentials)
        guard memory.refusal(of: pair) == nil else { return false }
        let statement = authorizing(checks(request.credentials, permissions, cost: 0), from: request.context.ip)
        return try await decide(statement, pair, permissions, deadline: request.deadline).decision.verdict == .admitted
    }

    /// Admits a read that leaves an entry: floods are folded as those of writes are.
    func authorize(_ attempt: Attempt, _ credentials: Credentials) async throws(DatabaseError) -> Decision {
        let pair = CredentialMemory.Pair(credentials)
        let subject = attempt.context.floodSubject
        if let refusal = memory.fold(pair, subject, attempt.folded) {
            await Self.restrain(refusal)
            return refusal
        }
        let entry =
            attempt.context.members + [
                .init(name: "id", value: .string(attempt.id.text)),
                .init(name: "action", value: .string(attempt.key.action.rawValue)),
                .init(name: "customer_id", value: .string(attempt.key.customerID?.text)),
            ]
        let statement = authorizing(
            checks(credentials, attempt.permissions, isValid: attempt.invalidity == nil), from: attempt.context.ip,
            entry: JSON.object(entry).text, countedBy: subject)
        return try await decide(
            statement, pair, attempt.permissions, countedBy: subject, deadline: attempt.deadline
        ).decision
    }

    private static func restrain(_ refusal: Decision) async {
        guard refusal.verdict == .rateLimited else { return }
        try? await Task.sleep(for: restraint)
    }

    /// - Parameters:
    ///   - entry: of an attempt that leaves one, as far as the request makes it.
    ///   - subject: what a flood of these is counted by.
    private func authorizing(
        _ checks: [Parameter], from ip: String, entry: String? = nil, countedBy subject: String? = nil
    ) -> Statement {
        Statement(
            "SELECT * FROM service.authorize($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            checks + [.text(ip), .text(entry), .text(subject)])
    }

    private func checks(
        _ credentials: Credentials, _ permissions: [Permission], cost: Int = 1, isValid: Bool = true
    ) -> [Parameter] {
        [
            .text(credentials.clientKey), .bytes(credentials.secretDigest), .array(permissions.map(\.rawValue)),
            .int(cost), .int(limits.rateLimit), .text("\(limits.rateWindow.milliseconds) ms"), .bool(isValid),
        ]
    }

    /// Lets the database decide.
    ///
    /// - Parameter subject: what a flood of failed authentications is counted by, of an attempt that leaves an entry.
    private func decide(
        _ statement: Statement, _ pair: CredentialMemory.Pair, _ permissions: [Permission],
        countedBy subject: String? = nil, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (decision: Decision, row: Row) {
        let start = ContinuousClock.now
        let appID = memory.app(of: pair)
        let row = try await pool.row(
            statement, for: appID ?? .zero, atMost: appID == nil ? Self.strangersLimit : .max, deadline: deadline)
        return (try decision(row, pair, permissions, countedBy: subject, since: start), row)
    }

    /// Reads what the database decided, and remembers what of it will hold for a moment.
    ///
    /// - Parameter start: a moment before that.
    private func decision(
        _ row: Row, _ pair: CredentialMemory.Pair, _ permissions: [Permission], countedBy subject: String? = nil,
        since start: ContinuousClock.Instant
    ) throws(DatabaseError) -> Decision {
        let decision = try Decision(row)
        let isFolded = subject != nil && !decision.isRecorded
        switch decision.verdict {
        case .unauthenticated:
            var flood: (subject: String, at: String, remaining: Duration)?
            if let subject {
                flood = (subject: subject, at: decision.decidedAt, remaining: .seconds(decision.retryAfter))
            }
            memory.noteFailure(pair, flood: flood)
        case .rateLimited, .forbidden, .invalid, .admitted:
            if let caller = decision.caller {
                memory.note(pair, app: caller.appID, granted: decision.verdict == .admitted ? permissions : [])
            }
            if decision.verdict == .rateLimited {
                memory.noteLimit(pair, decision, isFolded: isFolded, since: start)
            }
        }
        return decision
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
        /// until the window of the flood does; otherwise 0.
        var retryAfter: Int
        /// When it was made, by the clock of the database, as it writes a time.
        let decidedAt: String
        /// nil before authentication.
        let caller: Caller?
        /// The client key that was tried, if it exists.
        let clientKey: String?
        let rate: RateStatus?
        /// Whether the attempt gets an entry of its own; a flood is folded into one.
        var isRecorded: Bool
        /// Whether it is forbidden because the key isn't accepted from the client's address.
        var isElsewhere = false

        init(_ row: Row) throws(DatabaseError) {
            verdict = try row.get("verdict")
            retryAfter = try row.get("retry_after")
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
            isElsewhere = try row.get("is_elsewhere")
            rate = RateStatus(
                limit: try row.get("rate_limit"), remaining: try row.get("rate_remaining"),
                reset: try row.get("rate_reset"))
        }

        /// Of credentials that failed a moment ago.
        static let unauthenticated = Decision(
            .unauthenticated, retryAfter: 0, decidedAt: "", caller: nil, rate: nil, isRecorded: false)

        init(
            _ verdict: Verdict, retryAfter: Int, decidedAt: String, caller: Caller?, rate: RateStatus?,
            isRecorded: Bool
        ) {
            self.verdict = verdict
            self.retryAfter = retryAfter
            self.decidedAt = decidedAt
            self.caller = caller
            self.clientKey = caller?.clientKey
            self.rate = rate
            self.isRecorded = isRecorded
        }

        /// What the trail is told of a refusal, but not the client.
        var failure: Failure? {
            isElsewhere ? Failure(message: "The key is not accepted from this address") : nil
        }

        /// The refusal that the verdict is, if it is one.
        var refusal: (outcome: Outcome, error: APIError)? {
            switch verdict {
            case .unauthenticated: (.unauthenticated, .invalidCredentials)
            case .rateLimited: (.rateLimited, .rateLimited(retryAfter: retryAfter))
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
        /// nil if admission failed.
        let decision: Decision?
        /// Why admission failed for a reason that wasn't foreseen.
        let failure: Failure?

        /// The attempt, if it has a row.
        var lease: Lease? {
            switch verdict {
            case .run(let lease): lease
            case .replay(let stored): stored.lease
            case .refused: nil
            }
        }

        var rate: RateStatus? { decision?.rate }
        /// Whether it gets an entry of its own.
        var isRecorded: Bool { decision?.isRecorded ?? true }
        var isReplay: Bool {
            if case .replay = verdict { true } else { false }
        }

        fileprivate init(_ attempt: Attempt, _ decision: Decision, _ row: Row) throws(DatabaseError) {
            self.decision = decision
            failure = decision.failure
            if let refusal = decision.refusal {
                verdict = .refused(refusal.outcome, refusal.error)
            } else if let invalidity = attempt.invalidity {
                verdict = .refused(.invalid, .invalid(invalidity))
            } else if decision.verdict == .invalid, let limit = decision.rate?.limit {
                verdict = .refused(.invalid, .invalid(.exceedsRateLimit(limit)))
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
        fileprivate init(refused decision: Decision) {
            let refusal = decision.refusal ?? (.failed, .unforeseen)
            verdict = .refused(refusal.outcome, refusal.error)
            self.decision = decision
            failure = nil
        }

        fileprivate init(failed error: DatabaseError) {
            verdict = .refused(.failed, .unforeseen)
            decision = nil
            failure = Failure(error)
        }
    }
}

extension Attempt {
    /// JSON text of what a folded entry tells of it, and of the key that attempted it.
    fileprivate func folded(by caller: Caller?) -> String {
        JSON.object(
            context.members + [.init(name: "action", value: .string(key.action.rawValue))] + (caller?.members ?? [])
        ).text
    }
}

extension Caller {
    /// As `service.actor` writes it.
    fileprivate var members: [JSON.Member] {
        [
            .init(name: "actor_key_id", value: .string(keyID.text)),
            .init(name: "actor_client_key", value: .string(clientKey)),
            .init(name: "actor_name", value: .string(name)),
            .init(name: "actor_role", value: .string(role)),
        ]
    }
}

/// The right to carry out an attempt: no other instance touches it until the lease is over, and one that takes it away
/// raises the fence first, so that the former holder can't commit any more.
public struct Lease: Sendable, Hashable {
    public let appID: UUID
    public let attemptID: UUID
    public internal(set) var fence: Int
}

extension Lease {
    /// Decodes the members of a composite type that has the three.
    init(_ row: Row) throws(DatabaseError) {
        self.init(appID: try row.get("app_id"), attemptID: try row.get("attempt_id"), fence: try row.get("fence"))
    }
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
