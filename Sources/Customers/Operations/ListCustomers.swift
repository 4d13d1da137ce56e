import LibPQ

extension ReadOperation {
    /// A page of the customers that are in use, or of those that are archived, newest first.
    static let listCustomers = ReadOperation("/customers", [.readCustomers]) { request throws(Invalidity) in
        let search = try CustomerSearch(request.parameters)
        return Query { appID in
            search.statement(for: appID)
        } _: { found throws(DatabaseError) in
            try search.answer(try found.row())
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
    let total: TotalKind
    let page: Page
    /// Whether the page is named by what comes before it: the others don't move when a customer is made or deleted, and
    /// the last costs as little as the first.
    let isByCursor: Bool
    /// What comes before it, with a cursor; nil for the first page.
    let after: TimeCursor?

    /// The cursor of the first page.
    private static let firstPage = "*"
    private static let path = "/customers"

    init(_ parameters: QueryParameters) throws(Invalidity) {
        status = try parameters.choice("status", of: CustomerStatus.self)
        name = try parameters.text("name")
        email = try parameters.text("email")
        phone = try parameters.value("phone", orElse: .text(name: "phone", "must have a digit"), Self.lastDigits)
        id = try parameters.uuid("id")
        isArchived = try parameters.bool("archived")
        page = try Page(parameters)
        let cursor = try parameters.text("cursor")
        isByCursor = cursor != nil
        total = try parameters.choice("total", of: TotalKind.self) ?? (isByCursor ? .none : .exact)
        after =
            if cursor == Self.firstPage { nil } else {
                try parameters.value(
                    "cursor", orElse: .text(name: "cursor", "must be * or a next_cursor of an earlier answer")
                ) { TimeCursor($0, of: Self.path) }
            }
        guard !isByCursor || page.skip == 0 else { throw .text(name: "skip", "must not be given with a cursor") }
    }

    /// What is written between digits, and the zeros before them, which stand for a country, make no other number.
    private static func lastDigits(_ text: String) -> String? {
        let digits = text.filter { ("0"..."9").contains($0) }
        let significant = digits.drop { $0 == "0" }
        return digits.isEmpty ? nil : significant.isEmpty ? "0" : String(significant)
    }

    func statement(for appID: UUID) -> Statement {
        Statement(
            """
            SELECT records, total, next_time, next_id
            FROM service.list_customers($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            """,
            [
                .uuid(appID), .text(status?.rawValue), .text(name), .text(email), .text(phone), .uuid(id),
                .bool(isArchived), .text(total.rawValue), .text(after?.time), .uuid(after?.id), .int(page.skip),
                .int(page.take),
            ]
        )
    }

    func answer(_ row: Row) throws(DatabaseError) -> Answer {
        let total: Int? = if total == .none { nil } else { try row.get("total") }
        let next: TimeCursor? =
            if let time = row["next_time"] {
                TimeCursor(time: time, id: try row.get("next_id"), of: Self.path)
            } else { nil }
        return page.answer(records: row["records"], total: total, nextCursor: isByCursor ? .string(next?.text) : nil)
    }
}

/// Whether a list says how many there are on all its pages, which costs as much as reading all of them.
private enum TotalKind: String, CaseIterable {
    case exact
    /// Exact up to 10,000, the planner's estimate beyond.
    case estimate
    case none
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
    ///   - total: how many there are on all pages; nil when it wasn't asked for.
    ///   - nextCursor: what a list by cursor says of the next page.
    func answer(records: String?, total: Int?, nextCursor: JSON? = nil) -> Answer {
        var members: [JSON.Member] = [
            .init(name: "data", value: .raw("[\(records ?? "")]")), .init(name: "total", value: .int(total)),
            .init(name: "skip", value: .int(skip)), .init(name: "take", value: .int(take)),
        ]
        if let nextCursor { members.append(.init(name: "next_cursor", value: nextCursor)) }
        return Answer(status: 200, body: JSON.object(members).text)
    }
}
