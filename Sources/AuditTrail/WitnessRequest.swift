public import LibPQ

/// Asks a witness to cosign a checkpoint: the side of the log. Source: C2SP, tlog-witness, "add-checkpoint".
public struct WitnessRequest: Sendable {
    /// What a witness answered over HTTP.
    public struct Answer: Sendable, Hashable {
        public let status: Int
        public let body: String

        public init(status: Int, body: String) {
            self.status = status
            self.body = body
        }
    }

    /// What came of it.
    public enum Outcome: Sendable, Hashable {
        /// The checkpoint with the witness's cosignatures.
        case cosigned(Checkpoint)
        /// The witness doesn't cosign; the end of a sentence.
        case refused(String)
        /// There was no answer to the question; the end of a sentence about the witness.
        case unavailable(String)
    }

    /// A witness may have some keys, old and new ones.
    private static let mostSignatures = 8

    private let connection: Connection
    private let keys: [WitnessKey]
    private let deadline: ContinuousClock.Instant

    /// - Parameter keys: of the witnesses whose cosignatures count; none to take any from who is asked.
    public init(connection: Connection, keys: [WitnessKey] = [], deadline: ContinuousClock.Instant) {
        (self.connection, self.keys, self.deadline) = (connection, keys, deadline)
    }

    /// - Parameter send: posts a body to the witness's `add-checkpoint`; it throws why the witness can't be reached.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        _ checkpoint: Checkpoint, _ send: (String) async throws -> Answer
    ) async throws(DatabaseError) -> Outcome {
        // A witness that knows an older checkpoint says which.
        var old = 0
        for _ in 0..<3 {
            var proof: [[UInt8]] = []
            if old > 0 {
                let tree = TreeReader(connection: connection, app: checkpoint.head.appID, deadline: deadline)
                guard old <= checkpoint.head.size,
                    let hashes = try await tree.consistencyProof(from: old, to: checkpoint.head.size)
                else { return .refused("because it has seen \(old) entries of this chain") }
                proof = hashes
            }
            let answer: Answer
            do {
                answer = try await send(CheckpointSubmission(old: old, proof: proof, note: checkpoint.note).text)
            } catch {
                return .unavailable("can't be reached: \(error)")
            }
            switch answer.status {
            case 200: return cosigned(checkpoint, answer.body)
            case 409:
                guard answer.body.hasSuffix("\n"), let size = Int(answer.body.dropLast()), size >= 0, size != old else {
                    // As version 1.0.0 of the specification says it, instead of 422.
                    return old == checkpoint.head.size
                        ? .refused("because it has cosigned another tree of \(old) entries (409)")
                        : .unavailable("answered 409 without another size")
                }
                old = size
            case 403, 404: return .refused("because it doesn't know the key of the log (\(answer.status))")
            case 422: return .refused("because the checkpoint doesn't continue what it has cosigned (422)")
            default: return .unavailable("answered \(answer.status)")
            }
        }
        return .unavailable("is asked by others at the same time")
    }

    /// Takes the answer's signatures, except such as would stand beside one of the same name: a wrong one under the name of
    /// the log would spoil the note. If the keys of witnesses are known, a signature must be one of theirs and right.
    private func cosigned(_ checkpoint: Checkpoint, _ body: String) -> Outcome {
        let known = Set(checkpoint.note.signatures.map(\.keyName))
        let answered = try? SignedNote.notes(in: checkpoint.note.text + "\n" + body)
        let new = answered?.first?.signatures.filter { !known.contains($0.keyName) && isAcceptable($0, of: checkpoint) }
        guard let new, answered?.count == 1, (1...Self.mostSignatures).contains(new.count) else {
            return .unavailable("answered without a\(keys.isEmpty ? "" : " valid") cosignature")
        }
        var cosigned = checkpoint
        cosigned.add(new)
        return .cosigned(cosigned)
    }
}

extension WitnessRequest {
    private func isAcceptable(_ signature: SignedNote.Signature, of checkpoint: Checkpoint) -> Bool {
        let note = SignedNote(text: checkpoint.note.text, signatures: [signature])
        return keys.isEmpty || keys.contains { $0.cosigned(note) == true }
    }
}

/// The body of `add-checkpoint`.
struct CheckpointSubmission: Sendable, Hashable {
    /// The size of the last checkpoint that the witness has cosigned.
    let old: Int
    let proof: [[UInt8]]
    let note: SignedNote

    var text: String {
        "old \(old)\n" + proof.map { Data($0).base64EncodedString() + "\n" }.joined() + "\n" + note.description
    }

    init(old: Int, proof: [[UInt8]], note: SignedNote) {
        (self.old, self.proof, self.note) = (old, proof, note)
    }

    init(_ text: String) throws(SignedNote.Malformed) {
        guard let end = text.firstRange(of: "\n\n") else { throw Self.malformed }
        var lines = text[..<end.lowerBound].split(separator: "\n", omittingEmptySubsequences: false)[...]
        guard let line = lines.popFirst(), line.hasPrefix("old "), let old = Int(line.dropFirst(4)), old >= 0,
            line == "old \(old)", lines.count < 64
        else { throw Self.malformed }
        var proof: [[UInt8]] = []
        for line in lines {
            guard let hash = Data(base64Encoded: String(line)), hash.count == 32, hash.base64EncodedString() == line
            else { throw Self.malformed }
            proof.append(Array(hash))
        }
        let contents = String(text[end.upperBound...])
        let notes = try SignedNote.notes(in: contents)
        guard notes.count == 1, notes[0].description == contents else { throw Self.malformed }
        self.init(old: old, proof: proof, note: notes[0])
    }

    private static let malformed = SignedNote.Malformed(description: "it isn't the body of add-checkpoint")
}
