import LibPQ

/// The unit of work that changes members of a customer: PATCH, status, archive and unarchive.
public struct ChangeCustomer: Sendable {
    private let unitOfWork: UnitOfWork

    public init(unitOfWork: UnitOfWork) {
        self.unitOfWork = unitOfWork
    }

    /// Times are those of the change, not of the transaction, which may have waited for the row: `updatedAt` never goes
    /// back, and no record that came in before an archive is newer than it.
    ///
    /// - Parameter entityTags: the change is made only if the record's tag is among them; nil makes it anyhow, `*`
    ///   stands for any (RFC 9110, section 13.1.1).
    func callAsFunction(
        _ customerID: UUID,
        _ fields: CustomerFields,
        ifMatch entityTags: [String]?,
        lease: inout Lease,
        deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Finished {
        let notFound = APIError.customerNotFound.answer
        let ending = try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                CustomerRow.locked(customerID, lease),
                Statement(
                    """
                    WITH found AS (
                        SELECT service.record(c) AS record, f.fields,
                               (f.fields ->> 'archived')::boolean <> (c.archived_at IS NOT NULL) AS moves
                        FROM public.customers AS c, (SELECT $4::jsonb AS fields) AS f
                        WHERE c.app_id = $1 AND c.id = $2),
                    matching AS (
                        SELECT found.fields, found.moves
                        FROM found
                        WHERE $5::text[] IS NULL OR '*' = ANY ($5) OR service.etag(found.record) = ANY ($5)),
                    changed AS (
                        UPDATE public.customers AS c
                        SET first_name = coalesce(f.fields ->> 'first_name', c.first_name),
                            last_name = coalesce(f.fields ->> 'last_name', c.last_name),
                            email = CASE WHEN f.fields ? 'email' THEN f.fields ->> 'email' ELSE c.email END,
                            phone_number = coalesce(f.fields ->> 'phone_number', c.phone_number),
                            status = coalesce(f.fields ->> 'status', c.status),
                            customer_type = coalesce(f.fields ->> 'customer_type', c.customer_type),
                            archived_at = CASE f.fields ->> 'archived'
                                WHEN 'true' THEN coalesce(c.archived_at, clock_timestamp())
                                WHEN 'false' THEN NULL
                                ELSE c.archived_at END,
                            updated_at = CASE WHEN f.moves IS FALSE THEN c.updated_at ELSE clock_timestamp() END
                        FROM matching AS f
                        WHERE c.app_id = $1 AND c.id = $2
                        RETURNING service.record(c) AS record)
                    SELECT CASE
                               WHEN changed.record IS NOT NULL THEN changed.record
                               WHEN found.record IS NOT NULL THEN 'MISMATCH'
                               ELSE 'NOT_FOUND' END,
                           CASE
                               WHEN changed.record IS NOT NULL THEN service.finish(
                                   $1, $3, 'SUCCEEDED', 200, changed.record, found.record,
                                   jsonb_build_object('request', jsonb_build_object(
                                       'changes', service.changed_members(found.record, changed.record)
                                           || CASE WHEN found.moves THEN '["archived"]' ELSE '[]' END::jsonb)))
                               WHEN found.record IS NULL THEN service.finish($1, $3, 'NOT_FOUND', $6, $7, NULL) END
                    FROM (SELECT 1) AS always LEFT JOIN found ON true LEFT JOIN changed ON true
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .text(fields.json.text),
                        entityTags.map { .array($0) } ?? nil, .int(notFound.status), .text(notFound.body),
                    ]
                ),
            ]
        )
        return try ending.finished { results throws(UnitOfWorkError) in
            let before = CustomerRow.record(results.first)
            switch results.last?.rows.first?[0] {
            case "NOT_FOUND": return Finished(.notFound, notFound)
            case "MISMATCH": return Finished(.conflict, APIError.preconditionFailed.answer, beforeImage: before)
            case let record?: return Finished(.succeeded, .record(record), beforeImage: before)
            case nil: throw .leaseLost
            }
        }
    }
}
