import Synchronization

/// Every secret that the tests have used, to look for where none may be found.
public final class SecretLedger: Sendable {
    public static let shared = SecretLedger()

    private let secrets = Mutex<Set<String>>([])

    public func note(_ secret: String) {
        secrets.withLock { _ = $0.insert(secret) }
    }

    /// The secrets that a text holds, as they are, without their prefix, or in hexadecimal.
    public func secrets(in text: String) -> [String] {
        secrets.withLock { $0 }.filter { secret in
            let bare = String(secret.trimmingPrefix("cs_"))
            let hex = secret.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
            return [secret, bare, hex].contains { !$0.isEmpty && text.contains($0) }
        }
    }
}
