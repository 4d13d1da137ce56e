import Crypto

/// A witness: it cosigns a log's checkpoint if that continues the last one that it has cosigned, so that a log can't show
/// one history to some and another to others. A pure value apart from ``Store``, which remembers.
///
/// Source: C2SP, tlog-witness, https://c2sp.org/tlog-witness.
public struct Witness: Sendable {
    /// What a witness remembers: of each log the last checkpoint that it has cosigned.
    public protocol Store: Sendable {
        /// What stands under a name that ``Witness`` chose; nil while there is none.
        func read(_ name: String) throws -> String?
        /// Replaces the note atomically and durably.
        func write(_ name: String, _ note: String) throws
    }

    public struct Answer: Sendable, Hashable {
        public let status: Int
        public let contentType: String
        public let body: String

        fileprivate init(_ status: Int, _ body: String, contentType: String = "text/plain; charset=utf-8") {
            (self.status, self.body, self.contentType) = (status, body, contentType)
        }
    }

    /// Bytes of a body that are read: a checkpoint with dozens of signatures fits.
    public static let largestBody = 64 << 10

    private let signer: NoteSigner
    private let logs: [NoteVerifier]
    private let store: any Store

    /// - Parameter logs: the keys of the logs. A log's origins are its key's name, a slash and an app; keys without a name
    ///   stand for none.
    public init(signer: NoteSigner, logs: [NoteVerifier], store: any Store) {
        (self.signer, self.logs, self.store) = (signer, logs, store)
    }

    /// What was remembered is damaged. Without it there is nothing to compare with, so nothing is cosigned.
    public struct Damaged: Error, CustomStringConvertible {
        /// As the store knows it.
        public let name: String

        public var description: String {
            "What was cosigned last is damaged: \(name) isn't a checkpoint that was signed."
        }
    }

    /// Answers a request. The caller never runs two at a time.
    ///
    /// - Parameter time: now, in seconds since 1970.
    /// - Throws: what the store throws, and ``Damaged``; then nothing was cosigned.
    public func answer(method: String, path: String, body: String, time: UInt64) throws -> Answer {
        switch (method, path) {
        case ("POST", "/add-checkpoint"): return try addCheckpoint(body, time)
        case ("GET", _) where path.hasSuffix("/checkpoint"): return try checkpoint(path)
        default: return Answer(404, "not found\n")
        }
    }

    private func addCheckpoint(_ body: String, _ time: UInt64) throws -> Answer {
        guard let submission = try? CheckpointSubmission(body), let new = try? CheckpointBody(submission.note.text)
        else {
            return Answer(400, "malformed request\n")
        }
        let keys = keys(of: new.origin)
        guard !keys.isEmpty else { return Answer(404, "unknown log\n") }
        let verdicts = keys.compactMap { $0.verifies(submission.note) }
        guard !verdicts.isEmpty, verdicts.allSatisfy({ $0 }) else { return Answer(403, "not signed by the log\n") }
        guard submission.old <= new.size else { return Answer(400, "the old size is greater than the new one\n") }

        let name = Self.name(of: new.origin)
        let last = try remembered(name)?.body
        guard submission.old == last?.size ?? 0 else {
            return Answer(409, "\(last?.size ?? 0)\n", contentType: "text/x.tlog.size")
        }
        let old = (size: submission.old, root: last?.root ?? MerkleHash.ofNothing)
        guard MerkleTree.isConsistent(old: old, new: (new.size, new.root), proof: submission.proof) else {
            return Answer(422, "not consistent with the checkpoint of \(old.size) entries\n")
        }
        let cosignature = try signer.cosign(submission.note.text, time: time)
        let signatures = submission.note.signatures.filter { $0.keyName == keys[0].name } + [cosignature]
        try store.write(name, SignedNote(text: submission.note.text, signatures: signatures).description)
        return Answer(200, cosignature.line)
    }

    private func checkpoint(_ path: String) throws -> Answer {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[1].utf8.count == 64, [UInt8](hex: String(parts[1])) != nil,
            let note = try remembered(String(parts[1]))?.note
        else { return Answer(404, "not found\n") }
        return Answer(200, note)
    }

    /// The keys of the log with an origin. One whose name is the beginning of another's doesn't stand for that one.
    private func keys(of origin: String) -> [NoteVerifier] {
        guard let name = Checkpoint.parts(of: origin)?.key else { return [] }
        return logs.filter { $0.name == name }
    }

    /// The last checkpoint that was cosigned under a name; nil while there is none.
    ///
    /// Its signatures have to be right, since a size that was altered would make consistent what isn't. One of the log or of
    /// this witness is enough: the other key may have been replaced.
    private func remembered(_ name: String) throws -> (note: String, body: CheckpointBody)? {
        guard let contents = try store.read(name) else { return nil }
        guard let notes = try? SignedNote.notes(in: contents), notes.count == 1,
            let body = try? CheckpointBody(notes[0].text), Self.name(of: body.origin) == name
        else { throw Damaged(name: name) }
        let verdicts = keys(of: body.origin).map { $0.verifies(notes[0]) } + [signer.witnessKey.cosigned(notes[0])]
        guard verdicts.contains(true), !verdicts.contains(false) else { throw Damaged(name: name) }
        return (contents, body)
    }

    /// SHA-256 of the origin in hex.
    private static func name(of origin: String) -> String {
        Array(SHA256.hash(data: Array(origin.utf8))).hex
    }
}
