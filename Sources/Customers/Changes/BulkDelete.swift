import Crypto
public import LibPQ

/// Deletes many customers: each in a unit of work with an audit entry of its own, the whole under one idempotency key.
///
/// The key of an item derives from the key of the whole, so a retry after a crash finds what was done and goes on
/// behind it.
public struct BulkDelete: Sendable {
    private let deleteCustomer: DeleteCustomer
    private let unitOfWork: UnitOfWork
    private let pool: ConnectionPool
    private let audit: AuditWriter
    private let givenUp: GivenUpAttempts

    public init(
        deleteCustomer: DeleteCustomer, unitOfWork: UnitOfWork, pool: ConnectionPool, audit: AuditWriter,
        givenUp: GivenUpAttempts
    ) {
        self.deleteCustomer = deleteCustomer
        self.unitOfWork = unitOfWork
        self.pool = pool
        self.audit = audit
        self.givenUp = givenUp
    }

    func callAsFunction(
        _ request: BulkRequest,
        idempotencyKey: UUID,
        lease: inout Lease,
        deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Finished {
        var results: [JSON] = []
        for id in request.ids {
            let answer =
                request.isDryRun
                ? try await checked(id, lease, deadline: deadline)
                : try await deleted(id, idempotencyKey, lease, deadline: deadline)
            results.append(Self.result(id, answer))
        }
        let body = JSON.object([.init(name: "results", value: .array(results))]).text
        let ending = try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                Statement(
                    "SELECT service.finish_bulk($1, $2, $3, $4, $5)",
                    [
                        .uuid(lease.appID), .uuid(lease.attemptID), .text(body),
                        .text(#"{"request":{"dry_run":\#(request.isDryRun),"ids":\#(request.ids.count)}}"#),
                        .array(request.ids.map(\.text)),
                    ]
                )
            ]
        )
        return try ending.finished { results throws(UnitOfWorkError) in
            guard let kept = results.first?.rows.first?[0] else { throw .leaseLost }
            return Finished(.succeeded, Answer(status: 200, body: kept))
        }
    }

    private static func result(_ id: UUID, _ answer: ItemAnswer) -> JSON {
        let known: [JSON.Member] = [
            .init(name: "id", value: .string(id.text)), .init(name: "statusCode", value: .int(answer.status)),
        ]
        switch answer {
        case .record(let record): return .object(known + [.init(name: "customer", value: .raw(record))])
        case .error(let error): return .object(known + [.init(name: "message", value: .string(error.message))])
        }
    }

    private enum ItemAnswer {
        case record(String)
        case error(APIError)

        var status: Int {
            switch self {
            case .record: 200
            case .error(let error): error.status
            }
        }
    }

    /// What deleting would do, as deletion-check sees it.
    private func checked(
        _ id: UUID, _ lease: Lease, deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> ItemAnswer {
        let row = try await row(
            Statement(
                """
                SELECT customer, deletable FROM service.check_item($1, $2)
                """,
                [.uuid(lease.appID), .uuid(id)]
            ), deadline: deadline)
        guard let record = row?[0] else { return .error(.customerNotFound) }
        return row?.bool(1) == true ? .record(record) : .error(.customerHasRecords(id))
    }

    /// Deletes one customer, unless this was done already under the same key.
    private func deleted(
        _ id: UUID, _ idempotencyKey: UUID, _ whole: Lease, deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> ItemAnswer {
        let item = UUID.random()
        let row: Row?
        do {
            row = try await self.row(
                Statement(
                    """
                    SELECT verdict, fence, attempt_id, has_entry, outcome, body
                    FROM service.open_item($1, $2, $3, $4, $5, $6, $7)
                    """,
                    [
                        .uuid(whole.appID), .uuid(whole.attemptID), .int(whole.fence), .uuid(item), .uuid(id),
                        .uuid(Self.itemKey(idempotencyKey, id)), .bytes(Fingerprint.deletion(of: id)),
                    ]
                ), deadline: deadline)
        } catch {
            givenUp.add(item)
            throw error
        }
        guard let row, let attemptID = row.uuid("attempt_id") else { throw .leaseLost }
        var lease = Lease(appID: whole.appID, attemptID: attemptID, fence: row.int("fence") ?? 0)
        switch row["verdict"] {
        case "RUN":
            return try await carryOut(id, &lease, deadline: deadline)
        case "REPLAY":
            if row.bool("has_entry") != true { try await record(lease, nil, deadline: deadline) }
            switch row["outcome"].flatMap(Outcome.init) {
            case .succeeded: return row["body"].map { .record($0) } ?? .error(.unforeseen)
            case .refused: return .error(.customerHasRecords(id))
            case .notFound: return .error(.customerNotFound)
            default: return .error(.unforeseen)
            }
        default:
            // An earlier run of this request is at it, until its lease is over.
            throw .unavailable(.unavailable("an earlier request still deletes \(id.text)"))
        }
    }

    private func carryOut(
        _ id: UUID, _ lease: inout Lease, deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> ItemAnswer {
        let result: DeleteCustomer.Result
        do {
            result = try await deleteCustomer(id, lease: &lease, deadline: deadline)
        } catch {
            switch error {
            case .failed(let cause):
                let failed = Finished(.failed, APIError.unforeseen.answer, failure: Failure(cause))
                try await record(lease, failed, deadline: deadline)
                return .error(.unforeseen)
            case .unavailable(let cause):
                // Frees the item's key, so that a retry needn't wait for its lease.
                let failed = Finished(.failed, APIError.unavailable.answer, failure: Failure(cause))
                try await record(lease, failed, deadline: deadline + .seconds(1))
                throw error
            case .inDoubt, .leaseLost:
                throw error
            }
        }
        try await record(lease, result.finished(customerID: id), deadline: deadline)
        switch result {
        case .deleted(let record): return .record(record)
        case .refused: return .error(.customerHasRecords(id))
        case .notFound: return .error(.customerNotFound)
        }
    }

    /// The item's audit entry, durable before the next item begins.
    private func record(
        _ lease: Lease, _ finished: Finished?, deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) {
        let recorded: Outcome?
        do {
            recorded = try await audit.append(AuditEntry(lease: lease, finished: finished), deadline: deadline)
        } catch {
            throw .unavailable(error)
        }
        if let finished, recorded != finished.outcome { throw .leaseLost }
    }

    private func row(
        _ statement: Statement, deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Row? {
        do {
            return try await Backoff.retrying(until: deadline) { () throws(DatabaseError) -> Row? in
                try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                    try await connection.query(statement, deadline: deadline).rows.first
                }
            }
        } catch {
            if error.sqlstate == "CD001" { throw .leaseLost }
            throw error.isUnavailability || error.isRetryable ? .unavailable(error) : .failed(error)
        }
    }

    /// A UUID of version 8 (RFC 9562, section 5.8) that the same whole and the same item always give.
    static func itemKey(_ whole: UUID, _ item: UUID) -> UUID {
        var bytes = Array(SHA256.hash(data: Array("customerd bulk item \(whole.text) \(item.text)".utf8)).prefix(16))
        bytes[6] = bytes[6] & 0x0f | 0x80
        bytes[8] = bytes[8] & 0x3f | 0x80
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }
}
