import LibPQ

/// Who must have signed and cosigned a checkpoint, as far as the reader knows.
public struct CheckpointTrust: Sendable {
    let verifier: NoteVerifier?
    let witnesses: [WitnessKey]

    /// - Parameters:
    ///   - verifier: this log's key; nil if it isn't known.
    ///   - witnesses: all that must have cosigned.
    public init(_ verifier: NoteVerifier? = nil, witnesses: [WitnessKey] = []) {
        self.verifier = verifier
        self.witnesses = witnesses
    }
}

/// The checkpoints in `audit.checkpoints`. They prove nothing against an administrator of the database, who can remove
/// them; but no one without the key can make one.
///
/// The role that signs adds rows, so a row can be anything that `audit.keep_checkpoint` lets through: each is looked at
/// before it is believed, and one that can't be believed says nothing about the trail.
struct KeptCheckpoints: Sendable {
    let connection: Connection
    let deadline: ContinuousClock.Instant

    struct Kept: Sendable, Hashable {
        let head: TreeHead
        /// When it was kept, RFC 3339.
        let keptAt: String
        /// The note as it is published.
        let note: String
        /// The verifier key of the key that signed it, which a verifier must know from elsewhere.
        let publicKey: String

        /// What the row holds, if its columns, its note and the signature of its own key agree; nil if not.
        var checkpoint: Checkpoint? {
            guard let checkpoint = try? Checkpoint(exactly: note), checkpoint.head == head,
                let verifier = try? NoteVerifier(publicKey), checkpoint.fault(verifier) == nil
            else { return nil }
            return checkpoint
        }

        /// How sentences about the row begin.
        var name: String { "the stored checkpoint of \(head.size) entries, kept at \(keptAt)," }

        /// What is said of one that isn't this log's.
        var notOurs: String { "\(name) isn't one that this log's key signed" }
    }

    /// What was found among the rows of a chain.
    enum Found<Value: Sendable>: Sendable {
        case value(Value)
        /// There is no valid row.
        case nothing
        /// There are valid ones, but the tree doesn't have their roots; the end of a sentence about the newest.
        case disagreement(String)
    }

    /// The apps that have rows.
    func apps() async throws(DatabaseError) -> [String] {
        let statement = Statement(
            "SELECT t.app_id FROM audit.traces AS t WHERE t.source = 'audit.checkpoints'", [], prepared: false)
        return try await connection.query(statement, deadline: deadline).rows.compactMap { $0[0] }
    }

    /// Hands over those of a chain that cover more than so many entries, the shortest and oldest first.
    func each(of app: String, above size: Int, _ body: (Kept) -> Void) async throws(DatabaseError) {
        var last: Kept?
        while true {
            let page = try await rows(
                """
                SELECT \(Self.columns)
                FROM audit.checkpoints AS c
                WHERE c.app_id = $1::uuid
                  AND c.size > $2
                  AND ($3::bigint IS NULL OR (c.size, c.signed_at) > ($3, $4::timestamptz))
                ORDER BY c.size, c.signed_at
                LIMIT \(Self.pageSize)
                """,
                [.text(app), .int(size), .int(last?.head.size), .text(last?.keptAt)])
            page.forEach(body)
            guard page.count == Self.pageSize else { return }
            last = page.last
        }
    }

    /// The newest valid one of a chain that a question can be answered with. A row that isn't valid is passed over, and so
    /// is one whose root the tree doesn't have: the role that signs could have added both. It could also add any number of
    /// them, so only ``mostSizes`` sizes and the newest ``mostOfSize`` rows of each are looked at. What is signed next is
    /// the newest again.
    ///
    /// - Parameters:
    ///   - seq: an entry that it has to cover.
    ///   - key: the verifier key that must have signed it; nil for any. Then all rows of the key are looked at, since nothing
    ///     may be signed that contradicts one of them.
    ///   - answer: nil if the tree doesn't have its root.
    func newest<Value: Sendable>(
        of app: String, covering seq: Int = 1, signedBy key: String? = nil,
        _ answer: (Kept, Checkpoint) async throws(DatabaseError) -> Value?
    ) async throws(DatabaseError) -> Found<Value> {
        var last: Kept?
        var refused: Kept?
        while true {
            let page =
                if let key {
                    try await page(of: app, covering: seq, signedBy: key, before: last)
                } else {
                    try await newest(of: app, covering: seq)
                }
            for kept in page {
                guard let checkpoint = kept.checkpoint else { continue }
                if let value = try await answer(kept, checkpoint) { return .value(value) }
                refused = refused ?? kept
            }
            last = page.last
            guard key == nil || page.count < Self.pageSize else { continue }
            guard let refused else { return .nothing }
            return .disagreement("the tree doesn't have the root of \(refused.name.dropLast())")
        }
    }

    /// The newest valid one of a chain, whatever the tree is.
    func newest(of app: String, signedBy key: String? = nil) async throws(DatabaseError) -> (Kept, Checkpoint)? {
        let found = try await newest(of: app, signedBy: key) { kept, checkpoint throws(DatabaseError) in
            Optional((kept, checkpoint))
        }
        if case .value(let newest) = found { return newest }
        return nil
    }

    /// Keeps a checkpoint, unless the newest one of its size is the same note.
    func keep(_ checkpoint: Checkpoint, _ verifier: NoteVerifier) async throws(DatabaseError) {
        _ = try await connection.query(
            Statement(
                "SELECT audit.keep_checkpoint($1, $2)", [.text(checkpoint.text), .text(verifier.text)], prepared: false),
            deadline: deadline)
    }

    // MARK: - Rows

    private static let pageSize = 64
    static let (mostSizes, mostOfSize) = (8, 4)

    private static let columns = """
        c.app_id, c.size, c.root, c.note, c.public_key,
               to_char(c.signed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        """

    /// The longest and newest first, a few of each of the largest sizes: as many steps of the index, however many there are.
    private func newest(of app: String, covering seq: Int) async throws(DatabaseError) -> [Kept] {
        try await rows(
            """
            WITH RECURSIVE sizes AS (
                (SELECT c.size
                 FROM audit.checkpoints AS c
                 WHERE c.app_id = $1::uuid AND c.size >= $2
                 ORDER BY c.size DESC
                 LIMIT 1)
                UNION ALL
                SELECT (SELECT c.size
                        FROM audit.checkpoints AS c
                        WHERE c.app_id = $1::uuid AND c.size >= $2 AND c.size < s.size
                        ORDER BY c.size DESC
                        LIMIT 1)
                FROM sizes AS s
                WHERE s.size IS NOT NULL
            )
            SELECT \(Self.columns)
            FROM (SELECT s.size FROM sizes AS s WHERE s.size IS NOT NULL LIMIT \(Self.mostSizes)) AS s
            CROSS JOIN LATERAL (SELECT c.*
                                FROM audit.checkpoints AS c
                                WHERE c.app_id = $1::uuid AND c.size = s.size
                                ORDER BY c.signed_at DESC
                                LIMIT \(Self.mostOfSize)) AS c
            ORDER BY c.size DESC, c.signed_at DESC
            """,
            [.text(app), .int(seq)])
    }

    /// The newest first.
    private func page(
        of app: String, covering seq: Int, signedBy key: String, before last: Kept?
    ) async throws(DatabaseError) -> [Kept] {
        try await rows(
            """
            SELECT \(Self.columns)
            FROM audit.checkpoints AS c
            WHERE c.app_id = $1::uuid
              AND c.size >= $2
              AND c.public_key = $3
              AND ($4::bigint IS NULL OR (c.size, c.signed_at) < ($4, $5::timestamptz))
            ORDER BY c.size DESC, c.signed_at DESC
            LIMIT \(Self.pageSize)
            """,
            [.text(app), .int(seq), .text(key), .int(last?.head.size), .text(last?.keptAt)])
    }

    private func rows(_ sql: String, _ parameters: [Parameter]) async throws(DatabaseError) -> [Kept] {
        var kept: [Kept] = []
        for row in try await connection.query(Statement(sql, parameters), deadline: deadline).rows {
            guard let app = row[0], let size = row.int(1), let root = row.bytes(2), let note = row[3], let key = row[4],
                let time = row[5]
            else { throw .unexpected("a column of audit.checkpoints is NULL") }
            let head = TreeHead(appID: app, size: size, root: root)
            kept.append(Kept(head: head, keptAt: time, note: note, publicKey: key))
        }
        return kept
    }
}
