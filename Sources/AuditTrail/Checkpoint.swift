/// A signed note that says how long a chain is and where it ends: what whoever can change every row of the database
/// can't change with it.
///
/// Its text has three lines: the origin, which is the name of the key, a slash and the app; the size; the head in
/// base64. Source: C2SP, tlog-checkpoint, https://c2sp.org/tlog-checkpoint, with the head of a chain for the root of a
/// tree.
public struct Checkpoint: Sendable, Hashable {
    public let head: ChainHead
    public let note: SignedNote

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
    var keyName: String {
        let origin = note.text.prefix { $0 != "\n" }
        return origin.lastIndex(of: "/").map { String(origin[..<$0]) } ?? ""
    }
}
