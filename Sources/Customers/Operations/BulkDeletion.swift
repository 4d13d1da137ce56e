import LibPQ

/// `POST` and `GET /bulk-deletions`, `GET` and `DELETE /bulk-deletions/{id}`, `GET …/results`: deletes thousands of
/// customers in the background.
///
/// ``BulkRunner`` carries it out. The SQL stands in sql/functions/bulk_deletions.sql.
struct BulkDeletion: Sendable {
    /// Customers that one request may name.
    static let mostItems = 10_000
    /// Bytes of a body with ``mostItems`` ids and a reason, generously spaced.
    static let largestBody = 512 * 1024

    let unitOfWork: UnitOfWork

    func create(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let bulk = try BulkRequest(request.body, atMost: Self.mostItems, takesReason: true)
        return WriteOperation.Plan(in: unitOfWork, body: request.body) { lease in
            Statement(
                "SELECT * FROM service.create_bulk($1, $2, $3, $4, $5)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .array(bulk.ids.map(\.text)),
                    .bool(bulk.isDryRun), .text(bulk.reason),
                ]
            )
        }
    }

    func cancel(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let bulkID = try request.pathID()
        return WriteOperation.Plan(in: unitOfWork, body: Array(bulkID.text.utf8)) { lease in
            Statement(
                "SELECT * FROM service.cancel_bulk($1, $2, $3, $4)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .uuid(bulkID),
                    .text(APIError.bulkNotFound.answer.body),
                ]
            )
        }
    }
}

extension ReadOperation {
    /// A page of the app's bulk deletions, the newest first, with the cursor of the next.
    static let listBulks = listByTime("/bulk-deletions", .readCustomers) { parameters, page throws(Invalidity) in
        let status = try parameters.choice("status", of: BulkStatus.self)
        return { appID in
            Statement(
                """
                SELECT bulk_id AS id, service.rfc3339(created_at) AS time, bulk AS item
                FROM service.find_bulks($1, $2, $3, $4, $5)
                """, [.uuid(appID), .text(status?.rawValue)] + page.parameters)
        }
    }

    /// How far a bulk deletion has come.
    static let getBulk = one(
        "/bulk-deletions/{id}", .readCustomers,
        """
        SELECT service.bulk_state($1, $2)
        """
    ) { row throws(DatabaseError) in
        row?[0].map { Answer(status: 200, body: $0) } ?? APIError.bulkNotFound.answer
    }

    /// Its items, one a line in the order asked.
    static let getBulkResults = ReadOperation("/bulk-deletions/{id}/results", [.readCustomers]) {
        request throws(Invalidity) in
        let bulkID = try request.pathID()
        // What each outcome is answered with, as members of a line.
        let answers = Outcome.allCases.map { outcome in
            let error = APIError(deletion: outcome)
            let message = error.map { #","message":\#(JSON.string($0.message).text)"# } ?? ""
            return JSON.Member(
                name: outcome.rawValue, value: .string(#""statusCode":\#(error?.status ?? 200)\#(message)"#))
        }
        let texts = JSON.object(answers).text
        return Query { appID in
            Statement("SELECT service.bulk_results($1, $2, $3)", [.uuid(appID), .uuid(bulkID), .text(texts)])
        } _: { found throws(DatabaseError) in
            guard let results = try found.row()[0] else { return APIError.bulkNotFound.answer }
            var answer = Answer(status: 200, body: results)
            answer.contentType = "application/x-ndjson"
            return answer
        }
    }
}

/// How a bulk deletion stands, as `service.bulk_status` names it.
public enum BulkStatus: String, Sendable, Hashable, CaseIterable {
    case running = "RUNNING"
    case done = "DONE"
    case cancelled = "CANCELLED"
}
