/// Makes client text fit to be kept: no character that PostgreSQL can't store, no secret, no more than so much.
struct StorableText: Sendable {
    /// What must not be kept wherever it turns up, because the client presented it as a secret.
    private let secrets: [String]

    init(secrets: [String?]) {
        // Shorter ones are no secrets of ours, and replacing them would garble ordinary words.
        self.secrets = secrets.compactMap { $0 }.filter { $0.utf8.count >= 16 }
    }

    func callAsFunction(_ text: String, limit: Int) -> String {
        var text = text
        for secret in secrets {
            text = text.replacing(secret, with: "[redacted]")
        }
        let scalars = text.unicodeScalars.lazy.filter { $0.value != 0 }.prefix(limit)
        var kept = String.UnicodeScalarView()
        kept.append(contentsOf: scalars)
        return String(kept)
    }

    func holdsSecret(_ text: String) -> Bool {
        secrets.contains { text.contains($0) }
    }

    /// A query string whose values are kept only under names that can't hold a credential.
    func query(_ query: String, limit: Int) -> String {
        let parts = query.split(separator: "&", omittingEmptySubsequences: false).map { part -> String in
            let name = part.prefix { $0 != "=" }
            let lowered = name.lowercased()
            let isSuspect = ["secret", "key", "token", "password", "auth"].contains { lowered.contains($0) }
            return isSuspect ? "\(name)=[redacted]" : String(part)
        }
        return self(parts.joined(separator: "&"), limit: limit)
    }
}
