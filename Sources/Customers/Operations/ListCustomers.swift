import AuditTrail
import LibPQ

extension ReadOperation {
    /// A page of the customers that are in use, or of those that are archived, newest first.
    static let listCustomers = ReadOperation("/customers", [.readCustomers]) { request throws(Invalidity) in
        let search = try CustomerSearch(request.parameters)
        return Query { appID in
            search.isNarrow ? search.matches(of: appID) : search.all(of: appID)
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
    /// The last digits of the phone number.
    let phone: String?
    let id: UUID?
    /// Whether it shows the archived ones, and no others.
    let isArchived: Bool
    let page: Page

    init(_ parameters: QueryParameters) throws(Invalidity) {
        status = try parameters.choice("status", of: CustomerStatus.self)
        name = try parameters.text("name")
        email = try parameters.text("email")
        phone = try parameters.value("phone", orElse: .text(name: "phone", "must have a digit"), Self.lastDigits)
        id = try parameters.uuid("id")
        isArchived = try parameters.bool("archived")
        page = try Page(parameters)
    }

    /// What is written between digits, and the zeros before them, which stand for a country, make no other number.
    private static func lastDigits(_ text: String) -> String? {
        let digits = text.filter { ("0"..."9").contains($0) }
        let significant = digits.drop { $0 == "0" }
        return digits.isEmpty ? nil : significant.isEmpty ? "0" : String(significant)
    }

    /// With nothing to look for, the list is a range of an index; otherwise, all matches are to be gathered first.
    var isNarrow: Bool {
        name != nil || email != nil || phone != nil || id != nil
    }

    /// Page and total each come from an index in order. Unprepared, so that it is planned for the status, if any.
    func all(of appID: UUID) -> Statement {
        Statement(
            """
            SELECT (SELECT string_agg(service.record(page.customer), ','
                                       ORDER BY (page.customer).created_at DESC, (page.customer).id)
                    FROM (SELECT ROW(c.*)::public.customers AS customer
                          FROM public.customers AS c
                          WHERE c.app_id = $1 AND (c.archived_at IS NULL) <> $5 AND ($2::text IS NULL OR c.status = $2)
                          ORDER BY c.created_at DESC, c.id
                          OFFSET $3
                          LIMIT $4) AS page) AS records,
                   (SELECT count(*)
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND (c.archived_at IS NULL) <> $5 AND ($2::text IS NULL OR c.status = $2)) AS total
            """,
            [
                .uuid(appID), .text(status?.rawValue), .int(page.skip), .int(page.take),
                .bool(isArchived),
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
                  AND (c.archived_at IS NULL) <> $7
                  AND ($2::text IS NULL OR c.status = $2)
                  AND ($3::text IS NULL OR c.searchable_name LIKE service.containing($3))
                  AND ($4::text IS NULL OR c.searchable_email LIKE service.containing($4))
                  AND ($8::text IS NULL
                       OR reverse(regexp_replace(c.phone_number, '[^0-9]', '', 'g')) LIKE reverse($8) || '%')
                  AND ($9::uuid IS NULL OR c.id = $9)),
            page AS (
                SELECT m.id
                FROM matching AS m
                ORDER BY m.created_at DESC, m.id
                OFFSET $5
                LIMIT $6)
            SELECT (SELECT string_agg(service.record(c.*), ',' ORDER BY c.created_at DESC, c.id)
                    FROM page
                    JOIN public.customers AS c ON c.app_id = $1 AND c.id = page.id) AS records,
                   (SELECT count(*) FROM matching) AS total
            """,
            [
                .uuid(appID), .text(status?.rawValue), .text(name),
                .text(email), .int(page.skip), .int(page.take), .bool(isArchived), .text(phone), .uuid(id),
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
