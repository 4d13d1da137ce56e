public import LibPQ

/// A signed note that says how long a chain is and where it ends. Kept outside the database, it shows what those who can
/// change every row of the database did.
///
/// Its text has three lines: the origin, which is the name of the key, a slash and the app; the size; the head in
/// base64. Source: C2SP, tlog-checkpoint, https://c2sp.org/tlog-checkpoint, with the head of a chain in place of the root
/// of a tree.
public struct Checkpoint: Sendable, Hashable {
    public let head: ChainHead
    let note: SignedNote

    /// The note as it is published.
    public var text: String { note.description }

    /// Signs a head.
    init(_ head: ChainHead, signer: NoteSigner) throws {
        self.head = head
        note = try signer.sign(
            """
            \(signer.name)/\(head.appID)
            \(head.seq)
            \(Data(head.hash).base64EncodedString())

            """
        )
    }

    /// Reads a note.
    init(_ note: SignedNote) throws(SignedNote.Malformed) {
        let lines = note.text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.count >= 4,
            let slash = lines[0].lastIndex(of: "/"), let app = UUID(strict: lines[0][lines[0].index(after: slash)...]),
            let seq = Int(lines[1]), seq >= 0, String(seq) == lines[1],
            let hash = Data(base64Encoded: String(lines[2])), hash.count == 32
        else { throw SignedNote.Malformed(description: "a note isn't the checkpoint of a chain") }
        head = ChainHead(appID: app.text, seq: seq, hash: Array(hash))
        self.note = note
    }

    /// The name of the key that may sign it.
    private var keyName: String {
        let origin = note.text.prefix { $0 != "\n" }
        return origin.lastIndex(of: "/").map { String(origin[..<$0]) } ?? ""
    }

    /// Why it can't be trusted; nil if the key has signed it.
    fileprivate func fault(_ verifier: NoteVerifier) -> String? {
        let size = "the checkpoint of \(head.seq) entries"
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

/// Signs where chains end, once they are proven.
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
    ///   - previous: what was signed before, so that nothing is signed that contradicts it.
    ///   - incremental: verify only what came after them.
    /// - Returns: what was found, and the checkpoints of all chains that have entries; none if one of them is broken.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        app: UUID?, previous: [ChainHead] = [], incremental: Bool = false, deadline: ContinuousClock.Instant
    ) async throws -> (verdict: ChainVerdict, checkpoints: [Checkpoint]) {
        let verify = ChainVerifier(connection: connection)
        let verdict = try await verify(
            app: app, checkpoints: previous, afterCheckpoints: incremental, deadline: deadline
        )
        guard verdict.broken == nil else { return (verdict, []) }
        return (verdict, try verdict.heads.map { try Checkpoint($0, signer: signer) })
    }
}

/// The checkpoints in a file, one note after another, and which of them can be trusted.
public struct Checkpoints: Sendable, Hashable {
    /// The heads that can be trusted.
    public private(set) var heads: [ChainHead] = []
    /// Why the first of the others can't.
    public private(set) var fault: ChainVerdict.Break?
    /// Whether a key was given to verify the signatures with.
    public let isProven: Bool

    /// - Parameters:
    ///   - contents: of the file.
    ///   - app: the only chain whose checkpoints matter; nil for all.
    ///   - verifier: the key that must have signed; nil to trust the file.
    public init(_ contents: String, app: UUID?, verifier: NoteVerifier?) {
        isProven = verifier != nil
        do {
            for checkpoint in try Self.read(contents) where app == nil || app?.text == checkpoint.head.appID {
                if let reason = verifier.flatMap(checkpoint.fault) {
                    fault = fault ?? .init(appID: checkpoint.head.appID, seq: nil, reason: reason)
                } else if checkpoint.head.seq > 0 {
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
