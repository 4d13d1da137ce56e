import LibPQ

extension Answer {
    /// A page of a list, with the cursor of the next.
    ///
    /// - Parameters:
    ///   - found: what is listed, in its order, one row more than `limit` if there is a next page. The column `item` is
    ///     its JSON.
    ///   - cursor: where a page ends that ends with this row.
    static func page(
        _ found: QueryResult, limit: Int, cursor: (Row) throws(DatabaseError) -> String
    ) throws(DatabaseError) -> Answer {
        let rows = found.rows.prefix(limit)
        var next: String?
        if found.rows.count > limit, let last = rows.last { next = try cursor(last) }
        let body: JSON = ["data": .array(rows.map { .raw($0["item"]) }), "next_cursor": .string(next)]
        return Answer(status: 200, body: body.text)
    }
}

extension ReadOperation {
    /// A list in the order of times, page by page.
    ///
    /// - Parameter search: reads what else is asked for; the rows of its statement have the columns `id`, `time` and
    ///   `item`, and there are no more than the page says.
    static func listByTime(
        _ path: String, _ permission: Permission,
        _ search: @escaping @Sendable (QueryParameters, TimePage) throws(Invalidity) -> @Sendable (UUID) -> Statement
    ) -> ReadOperation {
        ReadOperation(path, [permission]) { request throws(Invalidity) in
            let page = try TimePage(request.parameters, of: path)
            return Query(try search(request.parameters, page)) { found throws(DatabaseError) in
                try .page(found, limit: page.limit) { row throws(DatabaseError) in try TimeCursor(row, of: path).text }
            }
        }
    }
}

/// Which page of such a list is asked for.
struct TimePage: Sendable {
    private let cursor: TimeCursor?
    fileprivate let limit: Int

    fileprivate init(_ parameters: QueryParameters, of path: String) throws(Invalidity) {
        cursor = try parameters.value("cursor", orElse: .invalidCursor(name: "cursor")) { TimeCursor($0, of: path) }
        limit = try parameters.int("limit", in: AuditSearch.limits, default: 50)
    }

    /// For a statement: the time and the id of the last row before the page, NULL for the first page, and how many rows
    /// at most, one more than asked for.
    var parameters: [Parameter] {
        [.text(cursor?.time), .uuid(cursor?.id), .int(limit + 1)]
    }
}

extension TimeCursor {
    /// That of a row with the columns `time` and `id`.
    fileprivate init(_ row: Row, of path: String) throws(DatabaseError) {
        self.init(time: try row.get("time"), id: try row.get("id"), of: path)
    }
}
