import LibPQ

extension ReadOperation {
    /// A page of the customers that are in use, newest first.
    static let listCustomers = ReadOperation("/customers", [.readCustomers]) { request throws(Invalidity) in
        let search = try CustomerSearch(request.parameters)
        return Query { appID in
            search.looksForText ? search.matches(of: appID) : search.all(of: appID)
        } _: { found throws(DatabaseError) in
            let row = try found.row()
            return search.page.answer(records: row["records"], total: try row.get("total"))
        }
    }
}

/// Which customers a list shows.
private struct CustomerSearch: Sendable {
    let status: CustomerStatus?
    /// A substring of the first name, the last name, or both with a space between.
    let name: String?
    /// A substring of the email address.
    let email: String?
    let page: Page

    init(_ parameters: QueryParameters) throws(Invalidity) {
        status = try parameters.choice("status", of: CustomerStatus.self)
        name = try parameters.text("name")
        email = try parameters.text("email")
        page = try Page(parameters)
    }

    /// Without text to look for, the list is a range of an index; with it, all matches are to be gathered first.
    var looksForText: Bool {
        name != nil || email != nil
    }

    /// Page and total each come from an index in order. Unprepared, so that it is planned for the status, if any.
    func all(of appID: UUID) -> Statement {
        Statement(
            """
            SELECT (SELECT string_agg(service.record(page.c), ',' ORDER BY (page.c).created_at DESC, (page.c).id)
                    FROM (SELECT c
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
                .uuid(appID), .text(status?.rawValue), .int(page.skip), .int(page.take),
            ],
            prepared: false
        )
    }

    /// All matches first, by the trigram indexes, then the page: in the order of time, the database would scan all
    /// customers for a rare name. Unprepared, so that it is planned for the filters that are there.
    func matches(of appID: UUID) -> Statement {
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
            SELECT (SELECT string_agg(service.record(c), ',' ORDER BY c.created_at DESC, c.id)
                    FROM page
                    JOIN public.customers AS c ON c.app_id = $1 AND c.id = page.id) AS records,
                   (SELECT count(*) FROM matching) AS total
            """,
            [
                .uuid(appID), .text(status?.rawValue), .text(name),
                .text(email), .int(page.skip), .int(page.take),
            ],
            prepared: false
        )
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
    let skip: Int
    /// How many records it has at most.
    let take: Int

    init(_ parameters: QueryParameters) throws(Invalidity) {
        skip = try parameters.int("skip", in: Self.skips, default: 0)
        take = try parameters.int("take", in: Self.takes, default: 10)
    }

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
