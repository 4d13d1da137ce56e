import LibPQ

/// `POST /customers/{id}/restore`: brings a deleted customer back from its before-image. A precondition is about the record
/// that was deleted.
struct RestoreCustomer: Sendable {
    let unitOfWork: UnitOfWork
    /// How long after a deletion.
    let days: Int

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan { lease, deadline throws(WriteError) in
            try await run(customerID, ifMatch: ifMatch, &lease, deadline: deadline)
        }
    }

    private func run(
        _ customerID: UUID, ifMatch: [String]?, _ lease: inout Lease, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Receipt {
        let notFound = APIError.customerNotFound.answer
        let exists = APIError.customerExists.answer
        let gone = APIError.notRestorable.answer
        let mismatch = APIError.preconditionFailed.answer
        return try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                Statement("SELECT service.await_redactions($1)", [.uuid(lease.appID)]),
                CustomerRow.locked(customerID, lease, .noKeyUpdate),
                Statement("SELECT service.record_deletion($1, $2)", [.uuid(lease.appID), .uuid(customerID)]),
                Statement(
                    """
                    WITH deletion AS (
                        SELECT d.before_image AS image, d.deleted_at > now() - make_interval(days => $8) AS is_recent,
                               $10::text[] IS NULL
                               OR service.etag(service.imaged_record(d.before_image)) = ANY ($10) AS is_meant
                        FROM service.last_deletion($1, $2) AS d
                        WHERE d.deleted_at IS NOT NULL),
                    restored AS MATERIALIZED (
                        SELECT service.insert_image($1, $2, d.image) AS record
                        FROM deletion AS d
                        WHERE d.image IS NOT NULL AND d.is_recent AND d.is_meant),
                    living AS (
                        SELECT service.image(c.*) AS image
                        FROM public.customers AS c
                        WHERE c.app_id = $1 AND c.id = $2)
                    SELECT receipt.*
                    FROM (SELECT) AS always
                    LEFT JOIN deletion ON true
                    LEFT JOIN restored ON true
                    LEFT JOIN living ON true
                    CROSS JOIN LATERAL (
                        SELECT CASE WHEN restored.record IS NOT NULL THEN 'SUCCEEDED'
                                    WHEN living.image IS NOT NULL THEN 'CONFLICT'
                                    WHEN deletion.is_recent IS NULL THEN 'NOT_FOUND'
                                    ELSE 'CONFLICT' END::service.outcome AS outcome,
                               CASE WHEN living.image IS NOT NULL THEN 'living'
                                    WHEN deletion.image IS NULL OR NOT deletion.is_recent THEN 'gone'
                                    WHEN NOT deletion.is_meant THEN 'another'
                                    -- Restored by another request, which this statement's snapshot doesn't show.
                                    ELSE 'living' END AS conflict
                    ) AS came
                    CROSS JOIN LATERAL (
                        SELECT CASE came.conflict WHEN 'another' THEN $11::int ELSE $6::int END AS status,
                               CASE came.conflict WHEN 'another' THEN $12 WHEN 'gone' THEN $9 ELSE $7 END AS body
                    ) AS refusal
                    CROSS JOIN LATERAL service.finish(
                        $1, $3, came.outcome,
                        CASE came.outcome WHEN 'SUCCEEDED' THEN 200 WHEN 'NOT_FOUND' THEN $4::int ELSE refusal.status END,
                        CASE came.outcome WHEN 'SUCCEEDED' THEN restored.record WHEN 'NOT_FOUND' THEN $5
                                          ELSE refusal.body END,
                        living.image) AS receipt
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .int(notFound.status),
                        .text(notFound.body), .int(exists.status), .text(exists.body), .int(days), .text(gone.body),
                        .entityTags(ifMatch), .int(mismatch.status), .text(mismatch.body),
                    ]
                ),
            ]
        )
    }
}
