import Crypto
import LibPQ

/// `POST /customers/bulk-delete`: deletes many customers, each in a unit of work with an audit entry of its own, the whole
/// under one idempotency key.
///
/// The key of an item derives from the key of the whole, so a retry after a crash finds what was done and
/// continues after it.
struct BulkDelete: Sendable {
    let delete: DeleteCustomer
    let unitOfWork: UnitOfWork
    let execution: Execution
    let pool: ConnectionPool
    let givenUp: GivenUpAttempts

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let bulk = try BulkRequest(request.body)
        let wholeKey = try request.idempotencyKey.get()
        return WriteOperation.Plan(cost: bulk.ids.count, body: request.body) { lease, deadline throws(WriteError) in
            try await run(bulk, wholeKey, &lease, deadline: deadline)
        }
    }

    private func run(
        _ bulk: BulkRequest, _ wholeKey: UUID, _ lease: inout Lease, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Receipt {
        var results: [JSON] = []
        for id in bulk.ids {
            let item: Item
            do throws(WriteError) {
                item =
                    bulk.isDryRun
                    ? try await check(id, lease, deadline: deadline)
                    : try await delete(id, wholeKey, lease, deadline: deadline)
            } catch {
                // No request runs the whole any more: a retry must not wait for its lease because an item is in doubt.
                switch error {
                case .inDoubt, .leaseLost: givenUp.add(lease.attemptID)
                case .unavailable, .failed: break
                }
                throw error
            }
            results.append(item.json(id))
        }
        return try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                Statement(
                    "SELECT * FROM service.finish_bulk($1, $2, $3, $4, $5)",
                    [
                        .uuid(lease.appID), .uuid(lease.attemptID),
                        .text(JSON.object([.init(name: "results", value: .array(results))]).text),
                        .text(#"{"dry_run":\#(bulk.isDryRun),"ids":\#(bulk.ids.count)}"#),
                        .array(bulk.ids.map(\.text)),
                    ]
                )
            ]
        )
    }

    /// The answer about one customer.
    private enum Item {
        case deleted(record: String)
        case error(APIError)

        init(_ receipt: Receipt) {
            self =
                switch receipt.outcome {
                case .succeeded: .deleted(record: receipt.body)
                case .refused: .error(.customerHasRecords)
                case .notFound: .error(.customerNotFound)
                default: .error(.unforeseen)
                }
        }

        func json(_ id: UUID) -> JSON {
            switch self {
            case .deleted(let record):
                ["id": .string(id.text), "statusCode": .int(200), "customer": .raw(record)]
            case .error(let error):
                ["id": .string(id.text), "statusCode": .int(error.status), "message": .string(error.message)]
            }
        }
    }

    /// What deleting would do, as deletion-check sees it.
    private func check(_ id: UUID, _ lease: Lease, deadline: ContinuousClock.Instant) async throws(WriteError) -> Item {
        let row = try await row(
            Statement(
                """
                SELECT customer, deletable
                FROM service.check_item($1, $2)
                """,
                [.uuid(lease.appID), .uuid(id)]
            ), lease.appID, deadline: deadline)
        guard let record = row["customer"] else { return .error(.customerNotFound) }
        return row.bool("deletable") == true ? .deleted(record: record) : .error(.customerHasRecords)
    }

    /// Deletes one customer, unless this was done already under the same key.
    private func delete(
        _ id: UUID, _ wholeKey: UUID, _ whole: Lease, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Item {
        let key = AttemptKey(action: .deleteCustomer, customerID: id)
        let item = UUID.timeOrdered()
        let opened: Opened
        do throws(WriteError) {
            let row = try await row(
                Statement(
                    """
                    SELECT i.opening, i.running_for_s, i.fence, i.attempt_id, i.has_entry, (i.receipt).*
                    FROM service.open_item($1, $2, $3, $4, $5, $6, $7) AS i
                    """,
                    [
                        .uuid(whole.appID), .uuid(whole.attemptID), .int(whole.fence), .uuid(item), .uuid(id),
                        .uuid(Self.itemKey(wholeKey, id)), .bytes(Fingerprint.of(key)),
                    ]
                ), whole.appID, deadline: deadline)
            do throws(DatabaseError) {
                opened = try Opened(row, appID: whole.appID)
            } catch {
                throw .failed(error)
            }
        } catch {
            givenUp.add(item)
            throw error
        }
        switch opened {
        case .run(var lease):
            let receipt = try await execution.run(key, &lease, until: deadline) { lease, deadline throws(WriteError) in
                try await delete.run(id, ifMatch: nil, &lease, deadline: deadline)
            }
            // The item's key is free again, so a retry does not wait for its lease.
            guard receipt.status != APIError.unavailable.status else {
                throw .unavailable(.unavailable("an item is unavailable"))
            }
            return Item(receipt)
        case .replay(let stored):
            return Item(try await execution.complete(stored, until: deadline))
        case .mismatch, .running:
            // An earlier run of this request is working on it, until its lease ends.
            throw .unavailable(.unavailable("an earlier request is still deleting \(id.text)"))
        }
    }

    private func row(
        _ statement: Statement, _ appID: UUID, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Row {
        do {
            return try await pool.row(statement, for: appID, deadline: deadline)
        } catch {
            if error.sqlstate == UnitOfWork.notHeld { throw .leaseLost }
            throw WriteError(error)
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

/// The body of a bulk deletion.
public struct BulkRequest: Sendable, Hashable {
    /// Customers that one request may name.
    public static let mostItems = 100

    /// In the order asked, each once.
    public let ids: [UUID]
    public let isDryRun: Bool

    /// - Throws: what is wrong with the body, in a sentence.
    public init(_ body: [UInt8]) throws(Invalidity) {
        let object = try BodyObject(body)
        try object.refuseMembers(otherThan: ["ids", "dry_run"])
        ids = try object.distinctIDs("ids", atMost: Self.mostItems)
        isDryRun = try object.flag("dry_run")
    }
}
