import Crypto

/// What signs notes: an Ed25519 key with a name.
///
/// Its text is `PRIVATE+KEY+name+keyid+base64(01 ‖ seed)`, as golang.org/x/mod/sumdb/note has it.
public struct NoteSigner: Sendable {
    public let name: String
    private let key: Curve25519.Signing.PrivateKey

    /// Makes a new key.
    ///
    /// - Parameter name: see ``NoteKey/isName(_:)``.
    public init?(generating name: String) {
        guard NoteKey.isName(name) else { return nil }
        self.name = name
        key = Curve25519.Signing.PrivateKey()
    }

    /// Reads a key.
    ///
    /// - Parameters:
    ///   - contents: its text, or a PEM file of PKCS #8, as `openssl genpkey -algorithm ed25519` writes it.
    ///   - name: the name of a PEM key, which has none.
    /// - Throws: ``NoteKey/Malformed``.
    public init(_ contents: String, pemName name: String) throws(NoteKey.Malformed) {
        var given: String?
        let seed: [UInt8]
        if let der = NoteKey.der("PRIVATE KEY", in: contents) {
            guard der.starts(with: NoteKey.privatePrefix) else { throw .kind }
            self.name = name
            seed = Array(der.dropFirst(NoteKey.privatePrefix.count))
        } else {
            let text = NoteKey.word(of: contents)
            guard text.hasPrefix("PRIVATE+KEY+") else { throw .form }
            given = text
            (self.name, seed) = try NoteKey.parts(text.dropFirst("PRIVATE+KEY+".count))
        }
        guard NoteKey.isName(self.name) else { throw .name }
        guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else { throw .form }
        self.key = key
        if let given, given != text { throw .id }
    }

    /// The key as it is kept, in a file that nobody else may read.
    public var text: String {
        NoteKey.text("PRIVATE+KEY+\(name)", id: verifier.id(name), [UInt8](key.rawRepresentation))
    }

    /// What its notes are verified with.
    public var verifier: NoteVerifier {
        NoteVerifier(name: name, key: key.publicKey)
    }

    /// A text with this key's signature.
    func sign(_ text: String) throws -> SignedNote {
        let signature = try key.signature(for: Data(text.utf8))
        return SignedNote(
            text: text,
            signatures: [.init(keyName: name, keyID: verifier.id(name), bytes: Array(signature))]
        )
    }
}

/// What verifies notes: an Ed25519 public key.
///
/// Its text is `name+keyid+base64(01 ‖ key)`, as golang.org/x/mod/sumdb/note has it.
public struct NoteVerifier: Sendable {
    /// nil for a PEM key: then the name is that of the signature.
    public let name: String?
    private let key: Curve25519.Signing.PublicKey

    fileprivate init(name: String?, key: Curve25519.Signing.PublicKey) {
        self.name = name
        self.key = key
    }

    /// Reads a key.
    ///
    /// - Parameter contents: its text, or a PEM file, as `openssl pkey -pubout` writes it.
    /// - Throws: ``NoteKey/Malformed``.
    public init(_ contents: String) throws(NoteKey.Malformed) {
        var given: String?
        let bytes: [UInt8]
        if let der = NoteKey.der("PUBLIC KEY", in: contents) {
            guard der.starts(with: NoteKey.publicPrefix) else { throw .kind }
            name = nil
            bytes = Array(der.dropFirst(NoteKey.publicPrefix.count))
        } else {
            let text = NoteKey.word(of: contents)
            given = text
            (name, bytes) = try NoteKey.parts(text[...])
        }
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { throw .form }
        self.key = key
        if let given, given != text { throw .id }
    }

    /// The key as it is given to others.
    public var text: String? {
        name.map { text($0) }
    }

    private func text(_ name: String) -> String {
        NoteKey.text(name, id: id(name), [UInt8](key.rawRepresentation))
    }

    /// The key's id under a name: SHA-256(name ‖ 0A ‖ 01 ‖ key), its first four bytes.
    func id(_ name: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(name.utf8) + [0x0A, NoteKey.ed25519] + key.rawRepresentation).prefix(4))
    }

    /// Whether this key has signed: nil if no signature claims so, false if one does that isn't right.
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
            case .form: "it is neither a key of a signed note nor a PEM file"
            case .kind: "it isn't an Ed25519 key"
            case .name: "a key's name has no spaces, no plus and no control characters"
            case .id: "its id isn't that of the key"
            }
        }
    }

    /// The signature type of Ed25519.
    fileprivate static let ed25519: UInt8 = 0x01
    /// What stands before the seed in PKCS #8, and before the key in SubjectPublicKeyInfo. Source: RFC 8410.
    fileprivate static let privatePrefix: [UInt8] = [
        0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ]
    fileprivate static let publicPrefix: [UInt8] = [
        0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00,
    ]

    /// Whether a key can have the name; it should be a URL without its scheme, such as `example.com/trail`.
    public static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 200
            && name.unicodeScalars.allSatisfy { scalar in
                !scalar.properties.isWhitespace && scalar != "+" && scalar.value >= 0x20 && scalar.value != 0x7F
            }
    }

    fileprivate static func text(_ name: String, id: [UInt8], _ key: [UInt8]) -> String {
        "\(name)+\(id.hex)+\(Data([ed25519] + key).base64EncodedString())"
    }

    /// The name and the bytes of `name+keyid+base64(type ‖ key)`.
    fileprivate static func parts(_ text: Substring) throws(Malformed) -> (String, [UInt8]) {
        let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let id = [UInt8](hex: String(parts[1])), id.count == 4,
            let data = Data(base64Encoded: String(parts[2])), let type = data.first
        else { throw .form }
        guard isName(String(parts[0])) else { throw .name }
        guard type == ed25519, data.count == 33 else { throw .kind }
        return (String(parts[0]), Array(data.dropFirst()))
    }

    /// The text without the white space around it; a key has none inside.
    fileprivate static func word(of contents: String) -> String {
        let words = contents.split(whereSeparator: \.isWhitespace)
        return words.count == 1 ? String(words[0]) : ""
    }

    /// The bytes of a PEM file. Source: RFC 7468.
    fileprivate static func der(_ label: String, in contents: String) -> [UInt8]? {
        guard let start = contents.firstRange(of: "-----BEGIN \(label)-----"),
            let end = contents.firstRange(of: "-----END \(label)-----"), start.upperBound <= end.lowerBound
        else { return nil }
        let base64 = contents[start.upperBound..<end.lowerBound].filter { !$0.isWhitespace }
        return Data(base64Encoded: String(base64)).map { Array($0) }
    }
}
