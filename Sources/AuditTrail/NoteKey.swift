import Crypto
import CryptoExtras

/// Signs notes: an Ed25519 key with a name.
///
/// Its text is `PRIVATE+KEY+name+keyid+base64(01 ‖ seed)`, as golang.org/x/mod/sumdb/note has it.
public struct NoteSigner: Sendable {
    public let name: String
    let key: Curve25519.Signing.PrivateKey

    /// Makes a new key.
    ///
    /// - Parameter name: see ``NoteKey/isName(_:)``; nil is returned for any other.
    public init?(generating name: String) {
        guard NoteKey.isName(name) else { return nil }
        self.name = name
        key = Curve25519.Signing.PrivateKey()
    }

    /// Reads a key.
    ///
    /// - Parameters:
    ///   - contents: its text, or a PEM file of PKCS #8, as `openssl genpkey -algorithm ed25519` writes it.
    ///   - name: the name for a PEM key, which has none itself.
    /// - Throws: ``NoteKey/Malformed``.
    public init(_ contents: String, pemName name: String) throws(NoteKey.Malformed) {
        if NoteKey.isPEM(contents) {
            guard let key = try? Curve25519.Signing.PrivateKey(pemRepresentation: contents),
                // The package reads a key of X25519, too, and writes it as one of Ed25519.
                contents.split(whereSeparator: \.isNewline) == key.pemRepresentation.split(whereSeparator: \.isNewline)
            else { throw .kind }
            guard NoteKey.isName(name) else { throw .name }
            (self.name, self.key) = (name, key)
        } else {
            let parts = try NoteKey.parts(of: contents, prefix: "PRIVATE+KEY+")
            guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: parts.bytes) else { throw .form }
            (self.name, self.key) = (parts.name, key)
            guard verifier.id(parts.name) == parts.id else { throw .id }
        }
    }

    /// The key as it is kept, in a file that only its owner can read.
    public var text: String {
        NoteKey.text("PRIVATE+KEY+\(name)", id: verifier.id(name), key.rawRepresentation)
    }

    /// The key that its notes are verified with.
    public var verifier: NoteVerifier {
        NoteVerifier(name: name, key: key.publicKey)
    }

    /// A text with this key's signature.
    func sign(_ text: String) throws -> SignedNote {
        let signature = try key.signature(for: Data(text.utf8))
        return SignedNote(
            text: text, signatures: [.init(keyName: name, keyID: verifier.id(name), bytes: Array(signature))]
        )
    }
}

/// Verifies notes: an Ed25519 public key.
///
/// Its text is `name+keyid+base64(01 ‖ key)`, as golang.org/x/mod/sumdb/note has it.
public struct NoteVerifier: Sendable {
    /// nil for a PEM key, which may have signed under any name.
    public let name: String?
    private let key: Curve25519.Signing.PublicKey

    fileprivate init(name: String, key: Curve25519.Signing.PublicKey) {
        self.name = name
        self.key = key
    }

    /// Reads a key.
    ///
    /// - Parameter contents: its text, or a PEM file, as `openssl pkey -pubout` writes it.
    /// - Throws: ``NoteKey/Malformed``.
    public init(_ contents: String) throws(NoteKey.Malformed) {
        if NoteKey.isPEM(contents) {
            guard let key = try? Curve25519.Signing.PublicKey(pemRepresentation: contents) else { throw .kind }
            (self.name, self.key) = (nil, key)
        } else {
            let parts = try NoteKey.parts(of: contents, prefix: "")
            guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: parts.bytes) else { throw .form }
            (self.name, self.key) = (parts.name, key)
            guard id(parts.name) == parts.id else { throw .id }
        }
    }

    /// The key as it is published; nil for a PEM key.
    public var text: String? {
        name.map { NoteKey.text($0, id: id($0), key.rawRepresentation) }
    }

    /// The key's id under a name: the first four bytes of SHA-256(name ‖ 0A ‖ 01 ‖ key).
    func id(_ name: String) -> [UInt8] {
        NoteKey.id(name, .ed25519, key)
    }

    /// Whether this key has signed: nil if no signature claims to be of it, false if one does and is wrong.
    func verifies(_ note: SignedNote) -> Bool? {
        let own = note.signatures.filter { signature in
            (name ?? signature.keyName) == signature.keyName && signature.keyID == id(signature.keyName)
        }
        guard !own.isEmpty else { return nil }
        return own.allSatisfy { key.isValidSignature(Data($0.bytes), for: Data(note.text.utf8)) }
    }
}

/// What both kinds of key have in common.
public enum NoteKey {
    /// Why a text isn't a key.
    public enum Malformed: Error, CustomStringConvertible {
        case form, kind, name, id

        public var description: String {
            switch self {
            case .form: "it is neither the key of a signed note nor a PEM file"
            case .kind: "it isn't an Ed25519 key"
            case .name: "the name of a key has no spaces, no plus signs and no control characters"
            case .id: "its key id doesn't match the key"
            }
        }
    }

    /// What a key signs, as it stands in the key's text. Source: C2SP, signed-note, "Signature types".
    enum Kind: UInt8 {
        /// Notes.
        case ed25519 = 0x01
        /// Checkpoints of others, with the time.
        case cosignature = 0x04
    }

    /// The first four bytes of SHA-256(name ‖ 0A ‖ kind ‖ key).
    static func id(_ name: String, _ kind: Kind, _ key: Curve25519.Signing.PublicKey) -> [UInt8] {
        Array(SHA256.hash(data: Array(name.utf8) + [0x0A, kind.rawValue] + key.rawRepresentation).prefix(4))
    }

    /// Whether a key can have the name; it should be a URL without its scheme, such as `example.com/trail`.
    public static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 200
            && name.unicodeScalars.allSatisfy { scalar in
                !scalar.properties.isWhitespace && scalar != "+" && scalar.value >= 0x20 && scalar.value != 0x7F
            }
    }

    fileprivate static func isPEM(_ contents: String) -> Bool {
        contents.contains("-----BEGIN ")
    }

    static func text(_ name: String, id: [UInt8], kind: Kind = .ed25519, _ key: Data) -> String {
        "\(name)+\(id.hex)+\((Data([kind.rawValue]) + key).base64EncodedString())"
    }

    /// Reads `prefix name+keyid+base64(type ‖ key)`, with white space before and after at most.
    static func parts(
        of contents: String, prefix: String, kinds: [Kind] = [.ed25519]
    ) throws(Malformed) -> (name: String, id: [UInt8], kind: Kind, bytes: [UInt8]) {
        let words = contents.split(whereSeparator: \.isWhitespace)
        guard let text = words.first, text.hasPrefix(prefix) else { throw .form }
        guard words.count == 1 else { throw .name }
        let parts = text.dropFirst(prefix.count).split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let id = [UInt8](hex: String(parts[1])), id.count == 4,
            let data = Data(base64Encoded: String(parts[2])), let type = data.first,
            data.base64EncodedString() == parts[2]
        else { throw .form }
        guard isName(String(parts[0])) else { throw .name }
        guard let kind = Kind(rawValue: type), kinds.contains(kind), data.count == 33 else { throw .kind }
        return (String(parts[0]), id, kind, Array(data.dropFirst()))
    }
}
