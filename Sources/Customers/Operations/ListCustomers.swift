import LibPQ

extension CustomerQueries {
    /// A page of the customers that are in use, newest first.
    public func list(
        _ search: Result<CustomerSearch, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readCustomers], search, deadline: deadline) {
            connection, caller, search, deadline throws(DatabaseError) in
            let statement = search.looksForText ? Self.matches(search, caller) : Self.all(search, caller)
            guard let row = try await connection.query(statement, deadline: deadline).rows.first else {
                return APIError.unforeseen.answer
            }
            return search.page.answer(records: row["records"], total: row.int("total") ?? 0)
        }
    }

    /// Page and total each come from an index in order. Unprepared, so that it is planned for the status, if any.
    private static func all(_ search: CustomerSearch, _ caller: Caller) -> Statement {
        Statement(
            """
            SELECT (SELECT string_agg(service.record(ROW(page.*)), ',' ORDER BY page.created_at DESC, page.id)
                    FROM (SELECT c.*
                          FROM public.customers AS c
                          WHERE c.app_id = $1 AND c.archived_at IS NULL AND ($2::text IS NULL OR c.status = $2)
                          ORDER BY c.created_at DESC, c.id
                          OFFSET $3
                          LIMIT $4) AS page) AS records,
                   (SELECT count(*)
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND c.archived_at IS NULL AND ($2::text IS NULL OR c.status = $2)) AS total
            """,
            [
                .uuid(caller.appID), .text(search.status?.rawValue), .int(search.page.skip), .int(search.page.take),
            ],
            prepared: false
        )
    }

    /// All matches first, by the trigram indexes, then the page: in the order of time, the database would look through
    /// everybody for a rare name. Unprepared, so that it is planned for the filters that are there.
    private static func matches(_ search: CustomerSearch, _ caller: Caller) -> Statement {
        Statement(
            """
            WITH matching AS MATERIALIZED (
                SELECT c.id, c.created_at
                FROM public.customers AS c
                WHERE c.app_id = $1
                  AND c.archived_at IS NULL
                  AND ($2::text IS NULL OR c.status = $2)
                  AND ($3::text IS NULL OR c.searchable_name LIKE service.containing($3))
                  AND ($4::text IS NULL OR c.searchable_email LIKE service.containing($4))),
            page AS (
                SELECT m.id
                FROM matching AS m
                ORDER BY m.created_at DESC, m.id
                OFFSET $5
                LIMIT $6)
            SELECT (SELECT string_agg(service.record(ROW(c.*)), ',' ORDER BY c.created_at DESC, c.id)
                    FROM page
                    JOIN public.customers AS c ON c.app_id = $1 AND c.id = page.id) AS records,
                   (SELECT count(*) FROM matching) AS total
            """,
            [
                .uuid(caller.appID), .text(search.status?.rawValue), .text(search.name),
                .text(search.email), .int(search.page.skip), .int(search.page.take),
            ],
            prepared: false
        )
    }
}

/// Which customers a list shows.
public struct CustomerSearch: Sendable, Hashable {
    public var status: CustomerStatus?
    /// A substring of the first name, the last name, or both with a space between.
    public var name: String?
    /// A substring of the email address.
    public var email: String?
    public var page: Page

    public init(status: CustomerStatus?, name: String?, email: String?, page: Page) {
        self.status = status
        self.name = name
        self.email = email
        self.page = page
    }

    /// Without text to look for, the list is a range of an index; with it, all matches are to be gathered first.
    var looksForText: Bool {
        name != nil || email != nil
    }
}

/// Whether one does business with a customer.
public enum CustomerStatus: String, Sendable, Hashable, CaseIterable {
    case active = "ACTIVE"
    case blacklisted = "BLACKLISTED"
    case deactivated = "DEACTIVATED"
}

/// Which part of a list is asked for.
public struct Page: Sendable, Hashable {
    public static let skips = 0...10_000
    public static let takes = 1...100

    /// How many records come before it.
    public let skip: Int
    /// How many records it has at most.
    public let take: Int

    public init(skip: Int, take: Int) {
        self.skip = skip
        self.take = take
    }
}

extension Page {
    /// - Parameters:
    ///   - records: the records of the page, rendered, separated by commas; nil for none.
    ///   - total: how many there are on all pages.
    func answer(records: String?, total: Int) -> Answer {
        let list: JSON = [
            "data": .raw("[\(records ?? "")]"), "total": .int(total), "skip": .int(skip), "take": .int(take),
        ]
        return Answer(status: 200, body: list.text)
    }
}
