import LibPQ

/// `PUT`, `GET` and `DELETE /customers/{id}/hold`: keeps a customer from being deleted and redacted.
///
/// A hold is a row that refers to the customer, so its foreign key refuses every deletion, and the deletion-check names it.
/// The SQL stands in sql/functions/holds.sql.
struct HoldCustomer: Sendable {
    let unitOfWork: UnitOfWork

    func place(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let hold = try HoldRequest(request.body)
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan(in: unitOfWork, body: request.body) { lease in
            Statement(
                "SELECT * FROM service.place_hold($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .uuid(customerID), .text(hold.reason),
                    .text(hold.until?.text), .entityTags(ifMatch), .text(APIError.customerNotFound.answer.body),
                    .text(APIError.preconditionFailed.answer.body),
                    .text(APIError.invalid(.timeIsPast(name: "until")).answer.body),
                ]
            )
        }
    }

    func release(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan(in: unitOfWork) { lease in
            Statement(
                "SELECT * FROM service.release_hold($1, $2, $3, $4, $5, $6, $7)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .uuid(customerID), .entityTags(ifMatch),
                    .text(APIError.customerNotFound.answer.body),
                    .text(APIError.preconditionFailed.answer.body), .text(APIError.holdNotFound.answer.body),
                ]
            )
        }
    }
}

extension ReadOperation {
    /// The hold of a customer.
    static let getHold = one(
        "/customers/{id}/hold", .readCustomers,
        """
        SELECT CASE WHEN service.is_held(c.app_id, c.id) THEN service.legal_hold(h.*) END
        FROM public.customers AS c
        LEFT JOIN public.legal_holds AS h ON h.app_id = c.app_id AND h.customer_id = c.id
        WHERE c.app_id = $1 AND c.id = $2
        """
    ) { row throws(DatabaseError) in
        guard let row else { return APIError.customerNotFound.answer }
        return row[0].map { Answer(status: 200, body: $0) } ?? APIError.holdNotFound.answer
    }
}

/// The body of a request that places a hold.
private struct HoldRequest {
    let reason: String
    let until: DateTime?

    /// - Throws: what is wrong with the body, in a sentence.
    init(_ body: [UInt8]) throws(Invalidity) {
        let object = try BodyObject(body)
        try object.refuseMembers(otherThan: ["reason", "until"])
        reason = try object.text("reason", upTo: 500)
        until = try object.dateTime("until")
    }
}
