import Customers

/// Makes client text safe to store and show: without control characters (U+0000 included), characters that change the
/// direction of writing, and secrets, and limited in length.
struct StorableText: Sendable {
    private static let redacted = "[redacted]"

    /// What must not be stored anywhere, because the client presented it as a secret.
    private let secrets: [String]

    init(secrets: [String]) {
        // With and without the prefix. Short ones can't be secrets of this service, and replacing them would garble words.
        self.secrets = (secrets + secrets.map { String($0.trimmingPrefix(Secrets.secretPrefix)) })
            .filter { $0.utf8.count >= 16 }
    }

    func callAsFunction(_ text: String, limit: Int) -> String {
        // First, since removing characters can join two parts to a secret.
        let text = redacting(passive(text))
        guard text.utf8.count > limit else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit)))
    }

    private func passive(_ text: String) -> String {
        // Nearly all text is visible ASCII.
        guard !text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.filter { !TextRule.isActive($0) }))
    }

    func holdsSecret(_ text: String) -> Bool {
        redacting(text) != text
    }

    /// A query string whose values are kept only under names that can't hold a credential.
    func query(_ query: String, limit: Int) -> String {
        let parts = query.split(separator: "&", omittingEmptySubsequences: false).map { part -> String in
            let name = part.prefix { $0 != "=" }
            let lowered = name.percentDecodedWherePossible.lowercased()
            let isSuspect = ["secret", "key", "token", "password", "auth"].contains { lowered.contains($0) }
            return isSuspect ? "\(name)=\(Self.redacted)" : String(part)
        }
        return self(parts.joined(separator: "&"), limit: limit)
    }

    /// The text without secrets; percent-decoded, several times if necessary, if it contained an encoded one.
    private func redacting(_ text: String) -> String {
        let plain = redactingPlain(text)
        var decoded = plain
        // Text may be encoded again by each program that it passes through.
        for _ in 0..<3 where decoded.utf8.contains(UInt8(ascii: "%")) {
            decoded = decoded.percentDecodedWherePossible
            let redacted = redactingPlain(decoded)
            if redacted != decoded { return redacting(redacted) }
        }
        return plain
    }

    private func redactingPlain(_ text: String) -> String {
        var text = text
        for secret in secrets {
            text = text.replacing(bytesOf: secret, with: Self.redacted)
        }
        // What looks like a secret is treated as one, even if it was sent in the wrong place.
        guard text.placeOfBytes(of: Secrets.secretPrefix) != nil else { return text }
        return text.replacing(/cs_[A-Za-z0-9_\-]{16,}/.matchingSemantics(.unicodeScalar), with: Self.redacted)
    }
}

// By bytes, not by characters: a combining mark behind a secret would make its last character another one. In linear
// time (Knuth, Morris, Pratt), as the client chooses both texts.
extension String {
    /// The offset, in UTF-8, of the first occurrence of another text, which isn't empty.
    fileprivate func placeOfBytes(of other: String) -> Int? {
        placesOfBytes(of: other, upTo: 1).first
    }

    fileprivate func replacing(bytesOf other: String, with replacement: String) -> String {
        let places = placesOfBytes(of: other)
        guard !places.isEmpty else { return self }
        let text = Array(utf8)
        var (replaced, start) = (Array(text[..<0]), 0)
        for place in places {
            replaced += text[start..<place] + replacement.utf8
            start = place + other.utf8.count
        }
        return String(decoding: replaced + text[start...], as: UTF8.self)
    }

    /// - Parameter limit: the maximum number of places. They don't overlap.
    private func placesOfBytes(of other: String, upTo limit: Int = .max) -> [Int] {
        let pattern = Array(other.utf8)
        guard utf8.count >= pattern.count, let first = pattern.first, utf8.contains(first) else { return [] }
        // How much of the pattern's beginning is repeated at the end of each of its beginnings.
        var repeated = [0]
        for byte in pattern.dropFirst() {
            var length = repeated.last ?? 0
            while length > 0, pattern[length] != byte { length = repeated[length - 1] }
            repeated.append(pattern[length] == byte ? length + 1 : 0)
        }
        var (places, length) = ([Int](), 0)
        for (place, byte) in utf8.enumerated() where places.count < limit {
            while length > 0, pattern[length] != byte { length = repeated[length - 1] }
            if pattern[length] == byte { length += 1 }
            if length == pattern.count {
                places.append(place + 1 - length)
                length = 0
            }
        }
        return places
    }
}
