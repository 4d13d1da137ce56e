/// The checkpoints that stand in a file, one note after another, and what may be believed of them.
public struct Checkpoints: Sendable, Hashable {
    /// The heads that may be believed.
    public private(set) var heads: [ChainHead] = []
    /// What is wrong with the first that can't.
    public private(set) var fault: ChainVerdict.Break?
    /// Whether a key has proven who signed.
    public let isProven: Bool

    /// - Parameters:
    ///   - contents: of the file.
    ///   - app: the only chain whose checkpoints matter; nil for all.
    ///   - verifier: the key that must have signed; nil to believe what stands there.
    public init(_ contents: String, app: UUID?, verifier: NoteVerifier?) {
        isProven = verifier != nil
        do {
            let checkpoints = try Self.read(contents)
            for checkpoint in checkpoints where app == nil || app?.text == checkpoint.head.appID {
                if let reason = verifier.flatMap({ Self.reasonAgainst(checkpoint, $0) }) {
                    fault = fault ?? .init(appID: checkpoint.head.appID, seq: nil, reason: reason)
                } else if checkpoint.head.seq > 0 {
                    heads.append(checkpoint.head)
                }
            }
        } catch {
            heads = []
            fault = .init(appID: nil, seq: nil, reason: "the checkpoint can't be believed: \(error)")
        }
    }

    private static func read(_ contents: String) throws(SignedNote.Malformed) -> [Checkpoint] {
        var checkpoints: [Checkpoint] = []
        for note in try SignedNote.notes(in: contents) { checkpoints.append(try Checkpoint(note)) }
        guard !checkpoints.isEmpty else { throw SignedNote.Malformed(description: "there is none in the file") }
        return checkpoints
    }

    private static func reasonAgainst(_ checkpoint: Checkpoint, _ verifier: NoteVerifier) -> String? {
        let size = "the checkpoint of \(checkpoint.head.seq) entries"
        switch verifier.verifies(checkpoint.note) {
        case nil: return "\(size) isn't signed with the key that was given"
        case false: return "the signature of \(size) is wrong"
        default:
            let isOwn = checkpoint.note.signatures.contains { signature in
                signature.keyName == checkpoint.keyName && verifier.id(signature.keyName) == signature.keyID
            }
            return isOwn ? nil : "the origin of \(size) is another than the name of its key"
        }
    }
}

extension ChainVerdict {
    /// The verdict where some checkpoints couldn't be believed: a fault of the chain itself weighs more.
    public func weighing(_ checkpoints: Checkpoints) -> ChainVerdict {
        var verdict = self
        verdict.broken = broken ?? checkpoints.fault
        return verdict
    }
}
