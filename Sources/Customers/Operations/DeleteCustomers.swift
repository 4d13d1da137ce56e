import Crypto
import LibPQ

/// `POST /customers/bulk-delete`: deletes many customers, each in a unit of work with an audit entry of its own, the whole
/// under one idempotency key.
///
/// The key of an item derives from the key of the whole, so a retry after a crash finds what was done and
/// continues after it. The SQL stands in sql/functions/delete_customers.sql.
struct DeleteCustomers: Sendable {
    /// Customers that one request may name.
    static let mostItems = 100

    /// How the deletion of one ended, or would, and the record that it deletes.
    private typealias Item = (outcome: Outcome, record: String?)

    let delete: DeleteCustomer
    let unitOfWork: UnitOfWork
    let execution: Execution
    let pool: ConnectionPool
    let givenUp: GivenUpAttempts

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let bulk = try BulkRequest(request.body, atMost: Self.mostItems, takesReason: false)
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
                    ? try await check(id, lease.appID, deadline: deadline)
                    : try await delete(id, wholeKey, lease, deadline: deadline)
            } catch {
                // No request runs the whole any more: a retry must not wait for its lease because an item is in doubt.
                switch error {
                case .inDoubt, .leaseLost: givenUp.add(lease.attemptID)
                case .unavailable, .failed: break
                }
                throw error
            }
            results.append(Self.json(id, item))
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

    private func check(
        _ id: UUID, _ appID: UUID, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Item {
        do { return try await pool.checkDeletion(of: id, appID, deadline: deadline) } catch { throw WriteError(error) }
    }

    private static func json(_ id: UUID, _ item: Item) -> JSON {
        guard let error = APIError(deletion: item.outcome) else {
            return ["id": .string(id.text), "statusCode": .int(200), "customer": .raw(item.record)]
        }
        return ["id": .string(id.text), "statusCode": .int(error.status), "message": .string(error.message)]
    }

    /// Deletes one customer, unless this was done already under the same key.
    private func delete(
        _ id: UUID, _ wholeKey: UUID, _ whole: Lease, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Item {
        let key = AttemptKey(action: .deleteCustomer, customerID: id)
        let item = UUID.timeOrdered()
        let opening = Statement(
            """
            SELECT i.opening, i.running_for_s, i.fence, i.attempt_id, i.has_entry, (i.receipt).*
            FROM service.open_item($1, $2, $3, $4, $5, $6, $7) AS i
            """,
            [
                .uuid(whole.appID), .uuid(whole.attemptID), .int(whole.fence), .uuid(item), .uuid(id),
                .uuid(Self.itemKey(wholeKey, id)), .bytes(Fingerprint.of(key)),
            ]
        )
        let opened: Opened
        do throws(DatabaseError) {
            opened = try Opened(
                try await pool.row(opening, for: whole.appID, deadline: deadline), appID: whole.appID)
        } catch {
            givenUp.add(item)
            throw error.sqlstate == UnitOfWork.notHeld ? .leaseLost : WriteError(error)
        }
        switch opened {
        case .run(var lease):
            let receipt = try await delete.run(id, &lease, in: execution, until: deadline)
            // The item's key is free again, so a retry does not wait for its lease.
            guard receipt.status != APIError.unavailable.status else {
                throw .unavailable(.unavailable("an item is unavailable"))
            }
            return (receipt.outcome, receipt.body)
        case .replay(let stored):
            let receipt = try await execution.complete(stored, until: deadline)
            return (receipt.outcome, receipt.body)
        case .mismatch, .running:
            // An earlier run of this request is working on it, until its lease ends.
            throw .unavailable(.unavailable("an earlier request is still deleting \(id.text)"))
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
struct BulkRequest {
    /// In the order asked, each once.
    let ids: [UUID]
    let isDryRun: Bool
    let reason: String?

    /// - Parameter limit: customers that one request may name.
    /// - Throws: what is wrong with the body, in a sentence.
    init(_ body: [UInt8], atMost limit: Int, takesReason: Bool) throws(Invalidity) {
        // Twice as many, so that one who names too many is told so.
        let object = try BodyObject(body, upTo: max(JSONReader.mostValues, 2 * limit))
        try object.refuseMembers(otherThan: ["ids", "dry_run"] + (takesReason ? ["reason"] : []))
        ids = try object.distinctIDs("ids", atMost: limit)
        isDryRun = try object.flag("dry_run")
        reason = try object.optionalText("reason", upTo: 500)
    }
}
