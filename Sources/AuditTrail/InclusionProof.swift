/// Shows that an entry is in a chain that was signed. Source: C2SP, tlog-proof, https://c2sp.org/tlog-proof.
public struct InclusionProof: Sendable, Hashable {
    /// The entry's seq, less one.
    let index: Int
    /// From the sibling of the entry's leaf up to the child of the root.
    let hashes: [[UInt8]]
    let checkpoint: Checkpoint

    private static let title = "c2sp.org/tlog-proof@v1"

    init(index: Int, hashes: [[UInt8]], checkpoint: Checkpoint) {
        (self.index, self.hashes, self.checkpoint) = (index, hashes, checkpoint)
    }

    /// The proof as it is published.
    public var text: String {
        let lines = [Self.title, "index \(index)"] + hashes.map { Data($0).base64EncodedString() }
        return lines.joined(separator: "\n") + "\n\n" + checkpoint.text
    }

    /// Reads a proof strictly: nothing is in it that isn't proven. So extra data, which no one has signed, is refused, and
    /// so is an empty line too many.
    init(_ text: String) throws(SignedNote.Malformed) {
        guard let end = text.firstRange(of: "\n\n") else { throw Self.malformed }
        var lines = text[..<end.lowerBound].split(separator: "\n", omittingEmptySubsequences: false)[...]
        guard lines.popFirst() == Substring(Self.title) else { throw Self.malformed }
        guard let line = lines.popFirst(), line.hasPrefix("index "), let index = Int(line.dropFirst(6)), index >= 0,
            line == "index \(index)", lines.count < 64
        else { throw Self.malformed }
        var hashes: [[UInt8]] = []
        for line in lines {
            guard let hash = Data(base64Encoded: String(line)), hash.count == 32, hash.base64EncodedString() == line
            else {
                throw Self.malformed
            }
            hashes.append(Array(hash))
        }
        self.init(index: index, hashes: hashes, checkpoint: try Checkpoint(exactly: String(text[end.upperBound...])))
    }

    private static let malformed = SignedNote.Malformed(description: "it isn't a proof of tlog-proof")

    /// Why it doesn't show that an entry is in the chain; nil if it does.
    func fault(seq: Int, app: String, hash: [UInt8]) -> String? {
        guard index == seq - 1 else { return "the proof is about entry \(index + 1), not about entry \(seq)" }
        guard checkpoint.head.appID == app else { return "the checkpoint is about another chain" }
        let head = checkpoint.head
        return MerkleTree.includes(
            leaf: MerkleHash.leaf(hash), at: index, size: head.size, root: head.root, proof: hashes)
            ? nil : "the proof doesn't lead from entry \(seq) to the root of the checkpoint"
    }
}
