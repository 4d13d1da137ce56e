import Crypto

extension Secrets {
    /// A public name for a key: 192 random bits in 32 characters that a URL takes as they are.
    static func makeClientKey() -> String {
        keyPrefix + random(bytes: 24)
    }

    /// 256 random bits, so that a plain digest of them can't be guessed back.
    static func makeSecret() -> String {
        secretPrefix + random(bytes: 32)
    }

    /// From the system's generator (getrandom), in base64url without padding. Source: RFC 4648 section 5.
    private static func random(bytes count: Int) -> String {
        SymmetricKey(size: .init(bitCount: count * 8)).withUnsafeBytes { base64URL(Array($0)) }
    }

    static func base64URL(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".unicodeScalars)
        var text = String.UnicodeScalarView()
        var buffer: UInt32 = 0
        var bits = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(alphabet[Int(buffer >> bits & 0x3f)])
            }
        }
        if bits > 0 { text.append(alphabet[Int(buffer << (6 - bits) & 0x3f)]) }
        return String(text)
    }
}
