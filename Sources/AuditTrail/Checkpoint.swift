public import LibPQ

/// A signed note that says how long a chain is and which root its Merkle tree has. Kept outside the database, it shows
/// what those who can change every row of the database did.
///
/// Its text has three lines: the origin, which is the name of the key, a slash and the app; the size; the root in base64.
/// Source: C2SP, tlog-checkpoint, https://c2sp.org/tlog-checkpoint.
public struct Checkpoint: Sendable, Hashable {
    public let head: TreeHead
    private(set) var note: SignedNote

    /// The note as it is published.
    public var text: String { note.description }

    /// Signs a tree.
    init(_ head: TreeHead, signer: NoteSigner) throws {
        self.head = head
        note = try signer.sign(
            """
            \(signer.name)/\(head.appID)
            \(head.size)
            \(Data(head.root).base64EncodedString())

            """
        )
    }

    /// Reads a note.
    init(_ note: SignedNote) throws(SignedNote.Malformed) {
        let body = try CheckpointBody(note.text)
        guard let slash = body.origin.lastIndex(of: "/"),
            let app = UUID(strict: body.origin[body.origin.index(after: slash)...])
        else { throw SignedNote.Malformed(description: "a note isn't the checkpoint of a chain") }
        head = TreeHead(appID: app.text, size: body.size, root: body.root)
        self.note = note
    }

    /// Reads the only note of a text.
    init(_ contents: String) throws(SignedNote.Malformed) {
        let notes = try SignedNote.notes(in: contents)
        guard notes.count == 1 else { throw SignedNote.Malformed(description: "it isn't one note") }
        try self.init(notes[0])
    }

    mutating func add(_ cosignatures: [SignedNote.Signature]) {
        note.signatures += cosignatures
    }

    /// The name of the key that may sign it.
    private var keyName: String {
        let origin = note.text.prefix { $0 != "\n" }
        return origin.lastIndex(of: "/").map { String(origin[..<$0]) } ?? ""
    }

    /// Why it can't be trusted; nil if the key has signed it and all of the witnesses have cosigned it.
    func fault(_ verifier: NoteVerifier?, _ witnesses: [WitnessKey] = []) -> String? {
        let size = "the checkpoint of \(head.size) entries"
        for witness in witnesses {
            switch witness.cosigned(note) {
            case nil: return "\(size) isn't cosigned by the witness \(witness.name)"
            case false: return "the cosignature of the witness \(witness.name) under \(size) is wrong"
            default: continue
            }
        }
        guard let verifier else { return nil }
        switch verifier.verifies(note) {
        case nil: return "\(size) isn't signed with the given key"
        case false: return "the signature of \(size) is wrong"
        default:
            let isOwn = note.signatures.contains { signature in
                signature.keyName == keyName && verifier.id(signature.keyName) == signature.keyID
            }
            return isOwn ? nil : "the origin of \(size) doesn't begin with the name of its key"
        }
    }
}

/// The text of any log's checkpoint. Source: C2SP, tlog-checkpoint, "Note text".
struct CheckpointBody: Sendable, Hashable {
    let origin: String
    let size: Int
    let root: [UInt8]

    /// Far more than any chain has, and so few that those of many chains can be added.
    private static let largestSize = 1 << 53

    init(_ text: String) throws(SignedNote.Malformed) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 4, !lines[0].isEmpty,
            let size = Int(lines[1]), (0...Self.largestSize).contains(size), String(size) == lines[1],
            let root = Data(base64Encoded: String(lines[2])), root.count == 32,
            root.base64EncodedString() == lines[2]
        else { throw SignedNote.Malformed(description: "a note isn't the checkpoint of a chain") }
        (origin, self.size, self.root) = (String(lines[0]), size, Array(root))
    }
}

/// Signs the trees of chains, once they are proven.
public struct CheckpointSigner: Sendable {
    private let connection: Connection
    private let signer: NoteSigner

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection, signer: NoteSigner) {
        self.connection = connection
        self.signer = signer
    }

    /// - Parameters:
    ///   - app: the chain to sign, the zero UUID for the chain of unauthenticated attempts; nil for all.
    ///   - previous: what was signed before, so that nothing is signed that contradicts it. What this key signed last is
    ///     found in the database, too.
    ///   - incremental: verify only what came after them.
    /// - Returns: what was found, and the checkpoints of all chains that have entries; none if one of them is broken.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        app: UUID?, previous: [TreeHead] = [], incremental: Bool = false, deadline: ContinuousClock.Instant
    ) async throws -> (verdict: ChainVerdict, checkpoints: [Checkpoint]) {
        let verify = ChainVerifier(connection: connection)
        let kept = try await KeptCheckpoints(connection: connection, deadline: deadline).newest(app, of: signer)
        var verdict = try await verify(
            app: app, checkpoints: previous + kept.map(\.head), afterCheckpoints: incremental, deadline: deadline
        )
        let fault = kept.first { $0.fault != nil }.map { kept in
            ChainVerdict.Break(appID: kept.head.appID, seq: nil, reason: kept.fault ?? "")
        }
        verdict.broken = verdict.broken ?? fault
        guard verdict.broken == nil else { return (verdict, []) }
        return (verdict, try verdict.heads.map { try Checkpoint($0, signer: signer) })
    }

    /// Keeps checkpoints in the database, for proofs and certificates.
    public func keep(_ checkpoints: [Checkpoint], deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        for checkpoint in checkpoints { try await kept.keep(checkpoint, signer.verifier) }
    }
}

/// The checkpoints in `audit.checkpoints`. They prove nothing against an administrator of the database, who can remove
/// them; but no one without the key can make one.
struct KeptCheckpoints: Sendable {
    let connection: Connection
    let deadline: ContinuousClock.Instant

    struct Kept: Sendable, Hashable {
        let head: TreeHead
        /// The note as it is published.
        let note: String
        /// The verifier key of the key that signed it, which a verifier must know from elsewhere.
        let publicKey: String
        /// Why the row can't be what was stored; nil if its columns, note and signature agree.
        let fault: String?
    }

    /// Those of a chain that cover more than so many entries.
    func all(of app: String, above size: Int) async throws(DatabaseError) -> [Kept] {
        try await rows(
            """
            SELECT c.app_id, c.size, c.root, c.note, c.public_key
            FROM audit.checkpoints AS c
            WHERE c.app_id = $1::uuid AND c.size > $2
            ORDER BY c.size, c.signed_at
            """,
            [.text(app), .int(size)])
    }

    /// The newest of a chain, if it covers an entry.
    func newest(of app: String, covering seq: Int = 1) async throws(DatabaseError) -> Kept? {
        try await rows(
            """
            SELECT c.app_id, c.size, c.root, c.note, c.public_key
            FROM audit.checkpoints AS c
            WHERE c.app_id = $1::uuid AND c.size >= $2
            ORDER BY c.size DESC, c.signed_at DESC
            LIMIT 1
            """,
            [.text(app), .int(seq)]
        ).first
    }

    /// The newest of each chain that a key says it has signed.
    func newest(_ app: UUID?, of signer: NoteSigner) async throws(DatabaseError) -> [Kept] {
        try await rows(
            """
            WITH RECURSIVE signed AS (
                (SELECT c.app_id FROM audit.checkpoints AS c ORDER BY c.app_id LIMIT 1)
                UNION ALL
                SELECT (SELECT c.app_id FROM audit.checkpoints AS c WHERE c.app_id > s.app_id ORDER BY c.app_id LIMIT 1)
                FROM signed AS s
                WHERE s.app_id IS NOT NULL
            )
            SELECT n.app_id, n.size, n.root, n.note, n.public_key
            FROM signed AS s
            CROSS JOIN LATERAL (SELECT c.app_id, c.size, c.root, c.note, c.public_key
                                FROM audit.checkpoints AS c
                                WHERE c.app_id = s.app_id AND c.public_key = $2
                                ORDER BY c.size DESC, c.signed_at DESC
                                LIMIT 1) AS n
            WHERE $1::uuid IS NULL OR s.app_id = $1
            """,
            [.uuid(app), .text(signer.verifier.text)])
    }

    func keep(_ checkpoint: Checkpoint, _ verifier: NoteVerifier) async throws(DatabaseError) {
        _ = try await connection.query(
            Statement(
                """
                INSERT INTO audit.checkpoints (app_id, size, root, note, public_key)
                SELECT $1::uuid, $2::bigint, $3, $4, $5
                WHERE NOT EXISTS (
                    SELECT
                    FROM audit.checkpoints AS c
                    WHERE c.app_id = $1::uuid AND c.size = $2::bigint AND c.note = $4)
                """,
                [
                    .text(checkpoint.head.appID), .int(checkpoint.head.size), .bytes(checkpoint.head.root),
                    .text(checkpoint.text), .text(verifier.text),
                ],
                prepared: false
            ),
            deadline: deadline
        )
    }

    private func rows(_ sql: String, _ parameters: [Parameter]) async throws(DatabaseError) -> [Kept] {
        var kept: [Kept] = []
        for row in try await connection.query(Statement(sql, parameters), deadline: deadline).rows {
            guard let app = row[0], let size = row.int(1), let root = row.bytes(2), let note = row[3], let key = row[4]
            else { throw .unexpected("a column of audit.checkpoints is NULL") }
            let head = TreeHead(appID: app, size: size, root: root)
            kept.append(Kept(head: head, note: note, publicKey: key, fault: Self.fault(head, note, key)))
        }
        return kept
    }

    private static func fault(_ head: TreeHead, _ note: String, _ key: String) -> String? {
        guard let checkpoint = try? Checkpoint(note), checkpoint.head == head, let verifier = try? NoteVerifier(key),
            checkpoint.fault(verifier) == nil
        else { return "the checkpoint of \(head.size) entries in audit.checkpoints was changed" }
        return nil
    }
}

/// The checkpoints in a file, one note after another, and which of them can be trusted.
public struct Checkpoints: Sendable, Hashable {
    /// The trees that can be trusted.
    public private(set) var heads: [TreeHead] = []
    /// Why the first of the others can't.
    public private(set) var fault: ChainVerdict.Break?
    /// Whether a key was given to verify the signatures with.
    public let isProven: Bool

    /// - Parameters:
    ///   - contents: of the file.
    ///   - app: the only chain whose checkpoints matter; nil for all.
    ///   - verifier: the key that must have signed; nil to trust the file.
    ///   - witnesses: all that must have cosigned.
    public init(_ contents: String, app: UUID?, verifier: NoteVerifier?, witnesses: [WitnessKey] = []) {
        isProven = verifier != nil
        do {
            for checkpoint in try Self.read(contents) where app == nil || app?.text == checkpoint.head.appID {
                if let reason = checkpoint.fault(verifier, witnesses) {
                    fault = fault ?? .init(appID: checkpoint.head.appID, seq: nil, reason: reason)
                } else if checkpoint.head.size > 0 {
                    heads.append(checkpoint.head)
                }
            }
        } catch {
            heads = []
            fault = .init(appID: nil, seq: nil, reason: "the checkpoint file is invalid: \(error)")
        }
    }

    private static func read(_ contents: String) throws(SignedNote.Malformed) -> [Checkpoint] {
        var checkpoints: [Checkpoint] = []
        for note in try SignedNote.notes(in: contents) { checkpoints.append(try Checkpoint(note)) }
        guard !checkpoints.isEmpty else { throw SignedNote.Malformed(description: "it holds no checkpoint") }
        return checkpoints
    }
}

extension ChainVerdict {
    /// The verdict if some checkpoints can't be trusted: a fault of the chain itself takes precedence.
    public func weighing(_ checkpoints: Checkpoints) -> ChainVerdict {
        var verdict = self
        verdict.broken = broken ?? checkpoints.fault
        return verdict
    }
}

/// Whether newer checkpoints continue older ones, by consistency proofs from the database: a few hundred rows for each
/// chain, however long it is.
public struct CheckpointComparison: Sendable {
    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Returns: a verdict that counts the entries under the new checkpoints, and as verified those of the chains that
    ///   are consistent; of the others, those under the old checkpoint. Nothing to compare is a break, too.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        from old: Checkpoints, to new: Checkpoints, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ChainVerdict {
        let verdict = try await compare(old.heads, new.heads, deadline).weighing(new).weighing(old)
        guard verdict.chains == 0, verdict.broken == nil else { return verdict }
        var nothing = verdict
        nothing.breakAt(nil, nil, "there is no checkpoint to compare")
        return nothing
    }

    private func compare(
        _ old: [TreeHead], _ new: [TreeHead], _ deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ChainVerdict {
        var verdict = ChainVerdict()
        let before = Dictionary(grouping: old, by: \.appID)
        let after = Dictionary(grouping: new, by: \.appID)
        for app in Set(before.keys).union(after.keys).sorted() {
            verdict.chains += 1
            guard let last = after[app]?.max(by: { $0.size < $1.size }) else {
                verdict.breakAt(app, nil, "the newer checkpoints lack this chain")
                continue
            }
            verdict.entries += last.size
            let heads = ((before[app] ?? []) + (after[app] ?? [])).sorted { $0.size < $1.size }
            let (agreed, fault) = try await follow(heads, of: app, deadline)
            verdict.verified += min(fault == nil ? last.size : agreed, last.size)
            if let fault {
                verdict.breakAt(app, agreed + 1, fault)
            } else if heads.last?.size != last.size {
                verdict.breakAt(app, last.size + 1, "the newer checkpoint covers less than the older one")
            }
        }
        return verdict
    }

    /// - Returns: the size of the last tree that continues those before it, and what is wrong with the next.
    private func follow(
        _ heads: [TreeHead], of app: String, _ deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (agreed: Int, fault: String?) {
        let tree = TreeReader(connection: connection, app: app, deadline: deadline)
        var agreed = heads[0].size
        for (older, newer) in zip(heads, heads.dropFirst()) {
            let proof = try await tree.consistencyProof(from: older.size, to: newer.size)
            guard let proof else {
                return (agreed, "the database lacks hashes of the checkpoint of \(newer.size) entries")
            }
            guard
                MerkleTree.isConsistent(old: (older.size, older.root), new: (newer.size, newer.root), proof: proof)
            else { return (agreed, "the checkpoint of \(newer.size) entries doesn't continue that of \(older.size)") }
            agreed = newer.size
        }
        return (agreed, nil)
    }
}

extension ChainVerdict {
    fileprivate mutating func breakAt(_ app: String?, _ seq: Int?, _ reason: String) {
        broken = broken ?? Break(appID: app, seq: seq, reason: reason)
    }
}
