import LibPQ

/// `PUT`, `GET` and `DELETE /customers/{id}/scheduled-deletion`: deletes a customer later, with a way back.
///
/// ``Scheduler`` runs it at its time. The SQL stands in sql/functions/schedule.sql.
struct ScheduleDeletion: Sendable {
    let unitOfWork: UnitOfWork

    func schedule(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let schedule = try ScheduleRequest(request.body)
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan(in: unitOfWork, body: request.body) { lease in
            Statement(
                "SELECT * FROM service.schedule_deletion($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .uuid(customerID), .text(schedule.at.text),
                    .text(schedule.reason), .entityTags(ifMatch),
                    .text(APIError.customerNotFound.answer.body),
                    .text(APIError.preconditionFailed.answer.body),
                    .text(APIError.invalid(.timeIsPast(name: "at")).answer.body),
                    .text(APIError.invalid(.timeIsTooFar(name: "at")).answer.body),
                ]
            )
        }
    }

    func cancel(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan(in: unitOfWork) { lease in
            Statement(
                "SELECT * FROM service.cancel_deletion($1, $2, $3, $4, $5, $6, $7)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .uuid(customerID), .entityTags(ifMatch),
                    .text(APIError.customerNotFound.answer.body),
                    .text(APIError.preconditionFailed.answer.body),
                    .text(APIError.scheduleNotFound.answer.body),
                ]
            )
        }
    }
}

extension ReadOperation {
    /// The scheduled deletion of a customer, or how it ended.
    static let getSchedule = one(
        "/customers/{id}/scheduled-deletion", .readCustomers,
        """
        SELECT s.schedule, c.id
        FROM (SELECT) AS always
        LEFT JOIN service.find_schedules($1, $2, NULL, NULL, NULL, NULL, 1) AS s ON true
        LEFT JOIN public.customers AS c ON c.app_id = $1 AND c.id = $2
        """
    ) { row throws(DatabaseError) in
        if let schedule = row?[0] { return Answer(status: 200, body: schedule) }
        return (row?[1] == nil ? APIError.customerNotFound : .scheduleNotFound).answer
    }

    /// A page of the app's scheduled deletions, the earliest first, with the cursor of the next.
    static let listSchedules = listByTime("/scheduled-deletions", .readCustomers) {
        parameters, page throws(Invalidity) in
        let status = try parameters.choice("status", of: ScheduleStatus.self)
        let before = try parameters.dateTime("before")
        return { appID in
            Statement(
                """
                SELECT customer_id AS id, service.rfc3339(delete_at) AS time,
                       '{"customer_id":' || to_json(customer_id) || ',' || substr(schedule, 2) AS item
                FROM service.find_schedules($1, NULL, $2, $3, $4, $5, $6)
                """, [.uuid(appID), .text(status?.rawValue), .text(before?.text)] + page.parameters)
        }
    }
}

/// How a scheduled deletion stands, as `service.schedule_status` names it.
public enum ScheduleStatus: String, Sendable, Hashable, CaseIterable {
    case scheduled = "SCHEDULED"
    case deleted = "DELETED"
    case refused = "REFUSED"
    case notFound = "NOT_FOUND"
    case forbidden = "FORBIDDEN"
    case cancelled = "CANCELLED"
}

/// The body of a request that schedules a deletion.
private struct ScheduleRequest {
    let at: DateTime
    let reason: String?

    /// - Throws: what is wrong with the body, in a sentence.
    init(_ body: [UInt8]) throws(Invalidity) {
        let object = try BodyObject(body)
        try object.refuseMembers(otherThan: ["at", "reason"])
        guard let at = try object.dateTime("at") else { throw .body("at is required") }
        self.at = at
        reason = try object.optionalText("reason", upTo: 500)
    }
}
