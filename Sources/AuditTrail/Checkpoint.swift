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
        guard let parts = Self.parts(of: body.origin) else {
            throw SignedNote.Malformed(description: "a note isn't the checkpoint of a chain")
        }
        head = TreeHead(appID: parts.app, size: body.size, root: body.root)
        self.note = note
    }

    /// Reads the only note of a text.
    init(_ contents: String) throws(SignedNote.Malformed) {
        let notes = try SignedNote.notes(in: contents)
        guard notes.count == 1 else { throw SignedNote.Malformed(description: "it isn't one note") }
        try self.init(notes[0])
    }

    /// Reads the only note of a text that is nothing but the note as it is published: without an empty line too many.
    init(exactly contents: String) throws(SignedNote.Malformed) {
        try self.init(contents)
        guard text.utf8.elementsEqual(contents.utf8) else {
            throw SignedNote.Malformed(description: "a note isn't written as it is published")
        }
    }

    mutating func add(_ cosignatures: [SignedNote.Signature]) {
        note.signatures += cosignatures
    }

    /// Takes over cosignatures under an earlier note of the same text, which they are valid for as well: of each key the
    /// one that is there stays. Those that claim to be of a known witness have to be right.
    mutating func adoptCosignatures(of earlier: Checkpoint, _ witnesses: [WitnessKey] = []) {
        guard earlier.note.text == note.text else { return }
        for signature in earlier.note.signatures where signature.keyName != keyName {
            let alone = SignedNote(text: note.text, signatures: [signature])
            guard !note.signatures.contains(where: { $0.isOfSameKey(as: signature) }),
                witnesses.allSatisfy({ $0.cosigned(alone) != false })
            else { continue }
            add([signature])
        }
    }

    /// What identifies the log: the name of its key, a slash and the app.
    public var origin: String { String(note.text.prefix { $0 != "\n" }) }

    /// The name of the key that may sign it.
    var keyName: String { Self.parts(of: origin)?.key ?? "" }

    /// What an origin consists of: the name of the key, a slash and the app, a UUID in its canonical form, so that each chain
    /// has one origin, and no other key stands for it. nil if it has another form.
    static func parts(of origin: String) -> (key: String, app: String)? {
        guard let slash = origin.lastIndex(of: "/"), slash != origin.startIndex else { return nil }
        let app = String(origin[origin.index(after: slash)...])
        guard let uuid = UUID(strict: app), uuid.text == app else { return nil }
        return (String(origin[..<slash]), app)
    }

    /// Why it can't be trusted; nil if the key has signed it and all of the witnesses have cosigned it.
    func fault(_ verifier: NoteVerifier?, _ witnesses: [WitnessKey] = []) -> String? {
        let size = "the checkpoint of \(head.size) entries"
        guard head.size > 0 || head.root == MerkleHash.ofNothing else {
            return "\(size) doesn't have the root of an empty tree"
        }
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
