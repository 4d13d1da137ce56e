public import LibPQ

/// Decides in one round trip whether a request may go on: key, rate, permission, validity, idempotency.
///
/// All of it is held in PostgreSQL, so any number of instances share it.
public struct Admission: Sendable {
    private let pool: ConnectionPool
    private let givenUp: GivenUpAttempts
    private let limits: Limits

    public init(pool: ConnectionPool, givenUp: GivenUpAttempts, limits: Limits) {
        self.pool = pool
        self.givenUp = givenUp
        self.limits = limits
    }

    /// What was decided, and about whom.
    public struct Decision: Sendable {
        public let verdict: Verdict
        /// nil before authentication.
        public let caller: Caller?
        /// The client key that was tried, if such a key exists.
        public let clientKey: String?
        public let rate: RateStatus?
        /// Whether the attempt gets an entry of its own; a flood is folded into one.
        public let isRecorded: Bool
    }

    public enum Verdict: Sendable {
        case unauthenticated
        case rateLimited(retryAfter: Int)
        case forbidden
        case invalid
        /// A read may go on.
        case admitted
        /// A write may go on, under this lease.
        case run(Lease)
        case replay(StoredAnswer)
        /// The key was used for another request.
        case mismatch
        /// The first request under this key still runs.
        case running(retryAfter: Int)
    }

    /// Admits a write. When nobody knows whether it was admitted, the attempt is given up.
    public func admit(_ attempt: Attempt, _ credentials: Credentials) async throws(DatabaseError) -> Decision {
        do {
            return try await decide(
                credentials,
                permissions: attempt.permissions,
                cost: attempt.cost,
                isValid: attempt.invalidity == nil,
                [
                    .uuid(attempt.id), .uuid(attempt.idempotencyKey), .bytes(attempt.fingerprint),
                    .text("\(limits.lease.milliseconds) ms"), .text("\(limits.idempotencyTTL.milliseconds) ms"),
                    .text(attempt.entry.text), .text(attempt.context.floodSubject),
                ],
                deadline: attempt.deadline
            )
        } catch {
            if error.leavesDoubt { givenUp.add(attempt.id) }
            throw error
        }
    }

    /// Admits a read, which leaves no attempt behind.
    public func admit(
        _ credentials: Credentials,
        permissions: [Permission],
        isValid: Bool,
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Decision {
        try await decide(
            credentials,
            permissions: permissions,
            cost: 1,
            isValid: isValid,
            [nil, nil, nil, nil, nil, nil, nil],
            deadline: deadline
        )
    }

    private func decide(
        _ credentials: Credentials,
        permissions: [Permission],
        cost: Int,
        isValid: Bool,
        _ write: [Parameter],
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Decision {
        let statement = Statement(
            """
            SELECT verdict, is_recorded, app_id, key_id, client_key, key_name, key_role, rate_remaining, rate_reset,
                   retry_after, fence, attempt_id, has_entry, outcome, status_code, body, customer_id
            FROM service.admit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            """,
            [
                .text(credentials.clientKey), .bytes(credentials.secretDigest), .array(permissions.map(\.rawValue)),
                .int(cost), .int(limits.rateLimit), .text("\(limits.rateWindow.milliseconds) ms"), .bool(isValid),
            ] + write
        )
        let row = try await Backoff.retrying(until: deadline) { () throws(DatabaseError) -> Row? in
            try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                try await connection.query(statement, deadline: deadline).rows.first
            }
        }
        guard let row, let verdict = verdict(row) else {
            throw .unavailable("service.admit gave no verdict")
        }
        return Decision(
            verdict: verdict,
            caller: caller(row),
            clientKey: row["client_key"],
            rate: row.int("rate_reset").map {
                RateStatus(limit: limits.rateLimit, remaining: row.int("rate_remaining") ?? 0, reset: $0)
            },
            isRecorded: row.bool("is_recorded") ?? true
        )
    }

    private func caller(_ row: Row) -> Caller? {
        guard
            let appID = row.uuid("app_id"), let keyID = row.uuid("key_id"), let clientKey = row["client_key"],
            let name = row["key_name"], let role = row["key_role"]
        else { return nil }
        return Caller(appID: appID, keyID: keyID, clientKey: clientKey, name: name, role: role)
    }

    private func verdict(_ row: Row) -> Verdict? {
        switch row["verdict"] {
        case "UNAUTHENTICATED": return .unauthenticated
        case "RATE_LIMITED": return .rateLimited(retryAfter: row.int("retry_after") ?? 1)
        case "FORBIDDEN": return .forbidden
        case "INVALID": return .invalid
        case "ADMITTED": return .admitted
        case "MISMATCH": return .mismatch
        case "RUNNING": return .running(retryAfter: row.int("retry_after") ?? 1)
        case "RUN":
            return lease(row).map { .run($0) }
        case "REPLAY":
            guard
                let lease = lease(row), let outcome = row["outcome"].flatMap(Outcome.init),
                let status = row.int("status_code"), let body = row["body"]
            else { return nil }
            let hasEntry = row.bool("has_entry") ?? false
            return .replay(
                StoredAnswer(
                    lease: lease, customerID: row.uuid("customer_id"), hasEntry: hasEntry, outcome: outcome,
                    status: status, body: body))
        default: return nil
        }
    }

    private func lease(_ row: Row) -> Lease? {
        guard let appID = row.uuid("app_id"), let attemptID = row.uuid("attempt_id") else { return nil }
        return Lease(appID: appID, attemptID: attemptID, fence: row.int("fence") ?? 0)
    }
}
