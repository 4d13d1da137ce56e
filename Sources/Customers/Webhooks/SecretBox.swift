import Crypto
import LibPQ

/// Secrets of webhooks, as they are stored: AES-256-GCM, with the app as associated data, so that a stored secret is good in
/// no other app.
///
/// Source: NIST SP 800-38D. A nonce is 96 random bits, and a key seals far fewer than 2^32 secrets.
public struct SecretBox: Sendable {
    /// A list of keys that can't be read.
    public struct InvalidKeys: Error, Sendable {}

    private static let version: UInt8 = 1
    private static let mark = "sealed:"

    private let keys: [SymmetricKey]

    /// - Parameter list: keys of 256 bits in base64, separated by commas. The first seals, all of them open.
    public init(_ list: String) throws(InvalidKeys) {
        var keys: [SymmetricKey] = []
        for text in list.split(separator: ",", omittingEmptySubsequences: false) {
            guard let bytes = Data(base64Encoded: text.trimmed), bytes.count == 32 else { throw InvalidKeys() }
            keys.append(SymmetricKey(data: bytes))
        }
        self.keys = keys
    }

    func seal(_ secret: WebhookSecret, for appID: UUID) throws(DatabaseError) -> [UInt8] {
        guard let key = keys.first,
            let box = try? AES.GCM.seal(secret.bytes, using: key, authenticating: Self.context(appID)).combined
        else { throw .unexpected("a secret couldn't be encrypted") }
        return [Self.version] + box
    }

    /// nil when no key opens it.
    func open(_ sealed: [UInt8], for appID: UUID) -> WebhookSecret? {
        opened(sealed, for: appID)?.secret
    }

    /// The same secret sealed with the first key; nil when it is already, or when no key opens it.
    func resealed(_ sealed: [UInt8], for appID: UUID) throws(DatabaseError) -> [UInt8]? {
        guard let (secret, key) = opened(sealed, for: appID), key > 0 else { return nil }
        return try seal(secret, for: appID)
    }

    private func opened(_ sealed: [UInt8], for appID: UUID) -> (secret: WebhookSecret, key: Int)? {
        guard sealed.first == Self.version, let box = try? AES.GCM.SealedBox(combined: sealed.dropFirst()) else {
            return nil
        }
        for (index, key) in keys.enumerated() {
            if let bytes = try? AES.GCM.open(box, using: key, authenticating: Self.context(appID)) {
                return (secret: WebhookSecret(bytes: Array(bytes)), key: index)
            }
        }
        return nil
    }

    private static func context(_ appID: UUID) -> [UInt8] {
        Array("customerd webhook \(appID.text)".utf8)
    }

    // MARK: - In stored answers

    /// The last member of an answer, as it is stored: the secret sealed, so that the database never holds it.
    static func member(_ sealed: [UInt8]) -> String {
        #","secret":"\#(mark)\#(Data(sealed).base64EncodedString())""#
    }

    /// The answer as the client gets it.
    ///
    /// - Parameter box: without it, or without the key, the secret is null.
    static func revealed(_ body: String, by box: SecretBox?, for appID: UUID) -> String {
        let start = #","secret":"\#(mark)"#
        guard let range = body.firstRange(of: start), body.hasSuffix(#""}"#),
            let sealed = Data(base64Encoded: String(body[range.upperBound...].dropLast(2)))
        else { return body }
        let secret = box?.open(Array(sealed), for: appID)
        return String(body[..<range.lowerBound]) + #","secret":"# + JSON.string(secret?.text).text + "}"
    }
}

/// What the deliveries of a webhook are signed with.
///
/// Source: Standard Webhooks, "Signature scheme" (symmetric).
struct WebhookSecret: Sendable {
    private static let prefix = "whsec_"

    let bytes: [UInt8]

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// 256 random bits.
    static func random() -> WebhookSecret {
        WebhookSecret(bytes: SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) })
    }

    /// As a client configures it.
    var text: String {
        Self.prefix + Data(bytes).base64EncodedString()
    }

    /// - Parameter timestamp: Unix seconds.
    func signature(id: String, timestamp: Int, body: String) -> String {
        let message = Array("\(id).\(timestamp).\(body)".utf8)
        let code = HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: bytes))
        return "v1," + Data(code).base64EncodedString()
    }
}
