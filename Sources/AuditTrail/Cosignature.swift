import Crypto

/// Verifies that a witness has cosigned a checkpoint: it has seen the tree, consistent with all that it saw before.
///
/// Its text is `name+keyid+base64(04 ‖ key)`. Source: C2SP, tlog-cosignature, https://c2sp.org/tlog-cosignature.
public struct WitnessKey: Sendable {
    public let name: String
    private let key: Curve25519.Signing.PublicKey

    init(_ signer: NoteSigner) {
        (name, key) = (signer.name, signer.key.publicKey)
    }

    /// Reads a key, also one as `audit keygen` prints it: the same key then cosigns.
    ///
    /// - Throws: ``NoteKey/Malformed``.
    public init(_ contents: String) throws(NoteKey.Malformed) {
        let parts = try NoteKey.parts(of: contents, prefix: "", kinds: [.ed25519, .cosignature])
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: parts.bytes) else { throw .form }
        (name, self.key) = (parts.name, key)
        guard NoteKey.id(name, parts.kind, key) == parts.id else { throw .id }
    }

    /// The key as it is published.
    public var text: String {
        NoteKey.text(name, id: id, kind: .cosignature, key.rawRepresentation)
    }

    private var id: [UInt8] { NoteKey.id(name, .cosignature, key) }

    /// Whether the witness has cosigned: nil if no signature claims to be of it, false if one does and is wrong.
    func cosigned(_ note: SignedNote) -> Bool? {
        let own = note.signatures.filter { $0.keyName == name && $0.keyID == id }
        guard !own.isEmpty else { return nil }
        return own.allSatisfy { signature in
            guard signature.bytes.count == 72 else { return false }
            let time = signature.bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let message = Self.message(note.text, time: time)
            return time <= UInt64(Int64.max) && key.isValidSignature(Data(signature.bytes.dropFirst(8)), for: message)
        }
    }

    fileprivate static func message(_ text: String, time: UInt64) -> Data {
        Data("cosignature/v1\ntime \(time)\n\(text)".utf8)
    }
}

extension NoteSigner {
    /// A cosignature of the text of a checkpoint.
    ///
    /// - Parameter time: now, in seconds since 1970.
    func cosign(_ text: String, time: UInt64) throws -> SignedNote.Signature {
        let signature = try key.signature(for: WitnessKey.message(text, time: time))
        let stamp = withUnsafeBytes(of: time.bigEndian) { Array($0) }
        let id = NoteKey.id(name, .cosignature, key.publicKey)
        return SignedNote.Signature(keyName: name, keyID: id, bytes: stamp + signature)
    }

    /// The key that its cosignatures are verified with.
    public var witnessKey: WitnessKey { WitnessKey(self) }
}
