import NIOConcurrencyHelpers

/// Every secret that the tests have used, to look for where none may be found.
public final class SecretLedger: Sendable {
    public static let shared = SecretLedger()

    private let secrets = NIOLockedValueBox<Set<String>>([])

    public func note(_ secret: String) {
        secrets.withLockedValue { _ = $0.insert(secret) }
    }

    /// What a secret looks like: as it is, without its prefix, or in hexadecimal.
    var forms: [String] {
        secrets.withLockedValue { $0 }.flatMap { secret in
            let hex = secret.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
            return [String(secret.trimmingPrefix(/cs_|whsec_/)), hex]
        }
    }

    /// The lines of a text that hold a secret.
    public func leaks(in text: String) -> [String] {
        let forms = forms
        guard forms.contains(where: { text.contains($0) }) else { return [] }
        return text.split(separator: "\n").map(String.init).filter { line in
            forms.contains { line.contains($0) }
        }
    }
}
