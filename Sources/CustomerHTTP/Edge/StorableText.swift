import Customers

/// Makes client text fit to be kept: no character that PostgreSQL can't store, no secret, no more than so much.
struct StorableText: Sendable {
    private static let redacted = "[redacted]"

    /// What must not be kept wherever it turns up, because the client presented it as a secret.
    private let secrets: [String]

    init(secrets: [String]) {
        // With and without the prefix. Short ones are no secrets of ours, and replacing them would garble words.
        self.secrets = (secrets + secrets.map { String($0.trimmingPrefix(Secrets.secretPrefix)) })
            .filter { $0.utf8.count >= 16 }
    }

    func callAsFunction(_ text: String, limit: Int) -> String {
        let text = redacting(text)
        // Nearly all text: there is nothing to take away.
        guard text.utf8.count > limit || text.utf8.contains(0) else { return text }
        let scalars = text.unicodeScalars.lazy.filter { $0.value != 0 }.prefix(limit)
        var kept = String.UnicodeScalarView()
        kept.append(contentsOf: scalars)
        return String(kept)
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

    /// The text without secrets; percent-decoded, as often as need be, if it held one in disguise.
    private func redacting(_ text: String) -> String {
        let plain = redactingPlain(text)
        var decoded = plain
        // Whoever encodes a text that is encoded already does so once more, maybe twice.
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
        // What looks like a secret is one, whoever sends it wherever, be it by mistake.
        guard text.placeOfBytes(of: Secrets.secretPrefix) != nil else { return text }
        return text.replacing(/cs_[A-Za-z0-9_\-]{16,}/.matchingSemantics(.unicodeScalar), with: Self.redacted)
    }
}

// By bytes, not by characters: a combining mark behind a secret would make its last character another one.
extension String {
    /// Where the bytes of another text, which isn't empty, stand in it first, as an offset in UTF-8.
    fileprivate func placeOfBytes(of other: String, from start: Int = 0) -> Int? {
        var (text, other) = (self, other)
        return text.withUTF8 { text in
            other.withUTF8 { other in
                var place = start
                while text.count - place >= other.count {
                    let rest = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(text)[place...])
                    guard let candidate = rest.firstIndex(of: other[0]) else { return nil }
                    place += candidate
                    guard text.count - place >= other.count else { return nil }
                    if text[place..<place + other.count].elementsEqual(other) { return place }
                    place += 1
                }
                return nil
            }
        }
    }

    fileprivate func replacing(bytesOf other: String, with replacement: String) -> String {
        guard var place = placeOfBytes(of: other) else { return self }
        let text = Array(utf8)
        var (replaced, start) = (Array(text[..<0]), 0)
        while true {
            replaced += text[start..<place] + replacement.utf8
            start = place + other.utf8.count
            guard let next = placeOfBytes(of: other, from: start) else { break }
            place = next
        }
        return String(decoding: replaced + text[start...], as: UTF8.self)
    }
}
