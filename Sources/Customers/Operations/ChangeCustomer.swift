import LibPQ

/// `PATCH /customers/{id}`, `…/status`, `POST …/archive`, `…/unarchive`: changes members of a customer.
struct ChangeCustomer: Sendable {
    let unitOfWork: UnitOfWork

    func members(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        try plan(request, CustomerFields(request.body, .change), .noKeyUpdate, body: request.body)
    }

    func status(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        try plan(request, CustomerFields(request.body, .status), .noKeyUpdate, body: request.body)
    }

    /// Keeps new records away, and so needs the stronger lock, as the way back does.
    func archive(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        try plan(request, .archived(true), .update, body: [])
    }

    func unarchive(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        try plan(request, .archived(false), .noKeyUpdate, body: [])
    }

    /// Times are those of the change, not of the transaction, which may have waited for the row: `updatedAt` never goes
    /// back, and no record that came in before an archive is newer than it.
    private func plan(
        _ request: APIRequest, _ fields: CustomerFields, _ lock: CustomerRow.Lock, body: [UInt8]
    ) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan(in: unitOfWork, body: body) { lease in
            [
                CustomerRow.locked(customerID, lease, lock),
                Statement(
                    """
                    WITH found AS (
                        SELECT service.record(c.*) AS record, service.image(c.*) AS image, f.fields,
                               (f.fields ->> 'archived')::boolean <> (c.archived_at IS NOT NULL) AS moves
                        FROM public.customers AS c, (SELECT $4::jsonb AS fields) AS f
                        WHERE c.app_id = $1 AND c.id = $2),
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
                        FROM found AS f
                        WHERE c.app_id = $1
                          AND c.id = $2
                          AND ($5::text[] IS NULL OR service.etag(f.record) = ANY ($5))
                        RETURNING service.record(c.*) AS record)
                    SELECT receipt.*
                    FROM (SELECT) AS always
                    LEFT JOIN found ON true
                    LEFT JOIN changed ON true
                    CROSS JOIN LATERAL service.finish(
                        $1, $3,
                        CASE WHEN changed.record IS NOT NULL THEN 'SUCCEEDED' WHEN found.record IS NOT NULL THEN 'MISMATCH'
                             ELSE 'NOT_FOUND' END::service.ending,
                        coalesce(changed.record, CASE WHEN found.record IS NOT NULL THEN $7 ELSE $6 END),
                        found.image,
                        CASE WHEN changed.record IS NOT NULL THEN jsonb_build_object(
                            'changes', service.changed_members(found.record, changed.record)
                                || CASE WHEN found.moves THEN '["archived"]' ELSE '[]' END::jsonb) END) AS receipt
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .text(fields.json.text),
                        .entityTags(ifMatch), .text(APIError.customerNotFound.answer.body),
                        .text(APIError.preconditionFailed.answer.body),
                    ]
                ),
            ]
        }
    }
}
