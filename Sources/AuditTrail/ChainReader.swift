import LibPQ

/// The last entry of a chain at some time, as `audit.heads` holds it.
public struct ChainHead: Sendable, Hashable {
    /// The chain, a UUID in lower case; the zero UUID for the chain of unauthenticated attempts.
    public let appID: String
    /// How many entries the chain has.
    public let seq: Int
    /// The hash of the last of them, 32 bytes.
    public let hash: [UInt8]

    /// A chain before its first entry.
    static func genesis(_ appID: String) -> ChainHead {
        ChainHead(appID: appID, seq: 0, hash: [UInt8](repeating: 0, count: 32))
    }
}

/// What other rows than the entries say about the length of a chain.
struct ChainTrace: Sendable, Hashable {
    let appID: String
    /// The chain has at least so many entries.
    let seq: Int
    /// What says so: the start of a sentence that ends with "refers to entry 5".
    let source: String
}

/// Entries of a chain that are exported without the others.
struct ChainPart: Sendable, Hashable {
    /// The entry before the first of them: seq 0 and 32 zero bytes if the part begins with the chain.
    let start: ChainHead
    /// The tree of the entries before them.
    let edge: TreeEdge
    /// The last of them; nil if the part extends to the head.
    let last: Int?
}

/// Where a part of a chain begins or ends, inclusive.
public enum ChainBound: Sendable, Hashable {
    case seq(Int)
    /// By `occurred_at`. Entries that overtook each other may lie outside of the time, since a part has no gaps.
    case time(DateTime)

    fileprivate var seq: Int? { if case .seq(let seq) = self { seq } else { nil } }
    fileprivate var time: String? { if case .time(let time) = self { time.text } else { nil } }
}

/// Reads chains in pages. Each page is a snapshot of its own, which ends before the page is looked at: one long snapshot
/// would keep vacuum from removing the dead rows of every table meanwhile, and so slow down the service.
///
/// Entries are only ever appended, so pages that were read one after another show the chain as it was at the last one.
struct ChainReader {
    /// Some entries of a chain, in order.
    struct Page: Sendable {
        let rows: [ChainRow]
        /// Whether no entry follows.
        let isLast: Bool
        /// What `audit.heads` says of the chain in the snapshot of its last page; nil on other pages.
        let head: ChainHead?
        /// The nodes of the tree that are complete with these entries; on the last page all that are left.
        let nodes: [TreeNode]
    }

    /// How many entries a page has; more if it ends among entries of the same seq, which only a forger can make.
    static let pageSize = 200

    let connection: Connection
    let deadline: ContinuousClock.Instant

    /// The chains that have entries or a head, in order; an entry's head could be missing.
    ///
    /// - Parameter app: the only chain to read; nil for all.
    func chains(_ app: UUID?) async throws -> [String] {
        if let app { return [app.text] }
        return try await snapshot { try await query(Self.chains).compactMap { $0[0] } }
    }

    /// What other tables say about the lengths of chains, apart from checkpoints, which are believed by their signatures; and
    /// `audit.heads` before the entries are read.
    func traces(_ app: UUID?) async throws -> [ChainTrace] {
        try await snapshot {
            try await query(Self.traces, [.uuid(app)]).map { row in
                ChainTrace(appID: row[0] ?? "", seq: row.int(1) ?? 0, source: row[2] ?? "")
            }
        }
    }

    /// Hands over a chain page by page.
    ///
    /// - Parameters:
    ///   - seq: the entry after which to begin; nil to begin with the first.
    ///   - last: the entry to end with; nil to end with the last.
    func pages(
        of chain: String, after seq: Int? = nil, upTo last: Int? = nil, _ body: (Page) throws -> Void
    ) async throws {
        var seq = seq
        while true {
            let page = try await page(of: chain, after: seq, upTo: last)
            try body(page)
            guard !page.isLast else { return }
            seq = page.rows.last?[.seq].flatMap { Int($0) }
        }
    }

    /// The entries of a chain after one of them, or from the first.
    func page(of chain: String, after seq: Int?, upTo last: Int? = nil) async throws -> Page {
        try await snapshot {
            let rows = try await query(Self.entries, [.text(chain), .int(seq), .int(last), .int(Self.pageSize)])
            let isLast = rows.count < Self.pageSize
            let head = isLast ? try await query(Self.head, [.text(chain)]).first : nil
            let end = isLast ? nil : rows.last?.int(0)
            let nodes = try await query(Self.nodes, [.text(chain), .int(seq ?? 0), .int(end)])
            return Page(
                rows: rows.map(ChainRow.init), isLast: isLast,
                head: head.map { ChainHead(appID: chain, seq: $0.int(0) ?? 0, hash: $0.bytes(1) ?? []) },
                nodes: nodes.map { row in
                    TreeNode(
                        place: Subtree(level: row.int(0) ?? 0, index: row.int(1) ?? 0), hash: row.bytes(2) ?? [])
                }
            )
        }
    }

    /// The first and the last seq between two bounds; nil if no entry lies there. Without an upper bound there is no last.
    func range(of chain: String, from: ChainBound?, to: ChainBound?) async throws -> (first: Int, last: Int?)? {
        if from == nil, to == nil { return (1, nil) }
        let rows = try await snapshot {
            try await query(
                Self.range,
                [.text(chain), .int(from?.seq), .text(from?.time), .int(to?.seq), .text(to?.time)]
            ).map { (first: $0.int(0), last: $0.int(1)) }
        }
        guard let row = rows.first, let first = row.first else { return nil }
        guard to != nil else { return (first, nil) }
        guard let last = row.last, last >= first else { return nil }
        return (first, last)
    }

    private func query(_ sql: String, _ parameters: [Parameter] = []) async throws -> [Row] {
        try await connection.query(Statement(sql, parameters, prepared: false), deadline: deadline).rows
    }

    /// Runs statements that see the same moment and change nothing.
    private func snapshot<Value: Sendable>(_ body: () async throws -> Value) async throws -> Value {
        // Functions of the catalog alone: those who altered the trail could have put others in their way.
        try await connection.script(
            """
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
            SET LOCAL search_path = pg_catalog, pg_temp;
            SET LOCAL statement_timeout = 0;
            """,
            deadline: deadline
        )
        do {
            let value = try await body()
            try await connection.script("COMMIT", deadline: deadline)
            return value
        } catch {
            try? await connection.script("ROLLBACK", deadline: .now + .seconds(2))
            throw error
        }
    }

    // MARK: - Statements

    /// One step of the index for each chain, instead of all its entries.
    private static let chains = """
        WITH RECURSIVE chains AS (
            (SELECT e.app_id FROM audit.entries AS e ORDER BY e.app_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.app_id FROM audit.entries AS e WHERE e.app_id > c.app_id ORDER BY e.app_id LIMIT 1)
            FROM chains AS c
            WHERE c.app_id IS NOT NULL
        )
        SELECT c.app_id
        FROM chains AS c
        WHERE c.app_id IS NOT NULL
        UNION
        SELECT h.app_id
        FROM audit.heads AS h
        ORDER BY 1
        """

    private static let traces = """
        SELECT t.app_id, t.seq, t.source
        FROM audit.traces AS t
        WHERE t.source <> 'audit.checkpoints' AND ($1::uuid IS NULL OR t.app_id = $1)
        UNION ALL
        SELECT h.app_id, h.seq, 'audit.heads, when the verification began,'
        FROM audit.heads AS h
        WHERE $1::uuid IS NULL OR h.app_id = $1
        """

    private static let head = """
        SELECT h.seq, h.hash
        FROM audit.heads AS h
        WHERE h.app_id = $1::uuid
        """

    private static let range = """
        SELECT (SELECT min(e.seq)
                FROM audit.entries AS e
                WHERE e.app_id = $1::uuid
                  AND ($2::bigint IS NULL OR e.seq >= $2)
                  AND ($3::timestamptz IS NULL OR e.occurred_at >= $3)),
               (SELECT max(e.seq)
                FROM audit.entries AS e
                WHERE e.app_id = $1::uuid
                  AND ($4::bigint IS NULL OR e.seq <= $4)
                  AND ($5::timestamptz IS NULL OR e.occurred_at <= $5))
        """

    /// The nodes that the entries after $2 up to $3 complete; seven levels are more than a chain can have. The order keeps
    /// the planner from reading all nodes of the chain for each page.
    private static let nodes = """
        SELECT node.level, node.index, node.hash
        FROM generate_series(1, 7) AS l (level)
        CROSS JOIN LATERAL (SELECT n.level, n.index, n.hash
                            FROM audit.nodes AS n
                            WHERE n.app_id = $1::uuid
                              AND n.level = l.level
                              AND n.index >= $2::bigint >> (8 * l.level)
                              AND ($3::bigint IS NULL OR n.index < $3::bigint >> (8 * l.level))
                            ORDER BY n.index) AS node
        """

    /// The columns of an entry as ``ChainRow`` takes them.
    static let columns = """
        e.seq::text,
        e.id::text,
        e.app_id::text,
        trunc(extract(epoch FROM e.occurred_at) * 1000000)::text,
        trunc(extract(epoch FROM e.recorded_at) * 1000000)::text,
        e.action,
        e.outcome,
        e.status_code::text,
        e.customer_id::text,
        e.before_image::text,
        e.actor_key_id::text,
        e.actor_client_key,
        e.actor_name,
        e.actor_role,
        e.actor_claimed,
        e.reason,
        e.ip::text,
        e.user_agent,
        e.request_id,
        e.idempotency_key::text,
        e.request::text,
        e.error_code,
        e.sqlstate,
        e.constraint_name,
        e.referencing_table,
        e.error_message,
        encode(e.previous_hash, 'hex'),
        encode(e.hash, 'hex'),
        encode(e.subject_commitment, 'hex'),
        encode(e.context_commitment, 'hex'),
        encode(e.subject_salt, 'hex'),
        encode(e.context_salt, 'hex')
        """

    private static let entries = """
        SELECT \(columns)
        FROM audit.entries AS e
        WHERE e.app_id = $1::uuid
          AND ($2::bigint IS NULL OR e.seq > $2)
          AND ($3::bigint IS NULL OR e.seq <= $3)
        ORDER BY e.seq
        FETCH FIRST ($4::int) ROWS WITH TIES
        """
}
