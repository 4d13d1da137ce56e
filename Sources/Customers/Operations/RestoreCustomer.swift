import LibPQ

/// `POST /customers/{id}/restore`: brings a deleted customer back from its before-image. A precondition is about the record
/// that was deleted. Further SQL stands in sql/functions/restoration.sql.
struct RestoreCustomer: Sendable {
    let unitOfWork: UnitOfWork
    /// How long after a deletion.
    let days: Int

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan(in: unitOfWork) { lease in
            [
                Statement("SELECT service.await_redactions($1)", [.uuid(lease.appID)]),
                CustomerRow.locked(customerID, lease, .noKeyUpdate),
                Statement("SELECT service.record_deletion($1, $2)", [.uuid(lease.appID), .uuid(customerID)]),
                Statement(
                    """
                    WITH deletion AS (
                        SELECT d.before_image AS image, d.deleted_at > now() - make_interval(days => $6) AS is_recent,
                               $8::text[] IS NULL
                               OR service.etag(service.imaged_record(d.before_image)) = ANY ($8) AS is_meant
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
                        SELECT c.ending::service.ending, c.body
                        FROM (VALUES
                            (1, restored.record IS NOT NULL, 'SUCCEEDED', restored.record),
                            (2, living.image IS NOT NULL, 'CONFLICT', $5),
                            (3, deletion.is_recent IS NULL, 'NOT_FOUND', $4),
                            (4, deletion.image IS NULL OR NOT deletion.is_recent, 'CONFLICT', $7),
                            (5, NOT deletion.is_meant, 'MISMATCH', $9),
                            -- Restored by another request, which this statement's snapshot doesn't show.
                            (6, true, 'CONFLICT', $5)) AS c (place, is_so, ending, body)
                        WHERE c.is_so
                        ORDER BY c.place
                        LIMIT 1) AS came
                    CROSS JOIN LATERAL service.finish(
                        $1, $3, came.ending, came.body, living.image,
                        CASE WHEN came.ending = 'SUCCEEDED' THEN service.pending_deletion($1, $2) END) AS receipt
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID),
                        .text(APIError.customerNotFound.answer.body), .text(APIError.customerExists.answer.body),
                        .int(days), .text(APIError.notRestorable.answer.body), .entityTags(ifMatch),
                        .text(APIError.preconditionFailed.answer.body),
                    ]
                ),
            ]
        }
    }
}
