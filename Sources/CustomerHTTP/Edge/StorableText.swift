import Customers
import Foundation

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
        let scalars = redacting(text).unicodeScalars.lazy.filter { $0.value != 0 }.prefix(limit)
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
            let lowered = name.lowercased()
            let isSuspect = ["secret", "key", "token", "password", "auth"].contains { lowered.contains($0) }
            return isSuspect ? "\(name)=\(Self.redacted)" : String(part)
        }
        return self(parts.joined(separator: "&"), limit: limit)
    }

    /// The text without secrets; percent-decoded if it held one in disguise.
    private func redacting(_ text: String) -> String {
        let plain = redactingPlain(text)
        guard plain.contains("%"), let decoded = plain.removingPercentEncoding else { return plain }
        let redacted = redactingPlain(decoded)
        return redacted == decoded ? plain : redacted
    }

    private func redactingPlain(_ text: String) -> String {
        var text = text
        for secret in secrets {
            text = text.replacing(secret, with: Self.redacted)
        }
        // What looks like a secret is one, whoever sends it wherever, be it by mistake.
        guard text.contains(Secrets.secretPrefix) else { return text }
        return text.replacing(/cs_[A-Za-z0-9_\-]{16,}/, with: Self.redacted)
    }
}
