/// Something awaited that didn't come.
public struct NeverHappened: Error, CustomStringConvertible {
    public var description: String

    public init(_ what: String) {
        description = "it never happened that \(what)"
    }
}

extension Duration {
    /// What takes longer hangs. Requests of services with little patience, and all that a busy machine delays, take less;
    /// no client is kept waiting for so long.
    public static let hang = Duration.seconds(30)
}

/// Returns as soon as the condition holds.
///
/// - Parameters:
///   - what: completes "it never happened that …".
///   - limit: how long to look; far longer than it should take.
/// - Throws: ``NeverHappened`` past the limit, or what the condition throws.
public func eventually(
    _ what: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw NeverHappened(what) }
        try await Task.sleep(for: .milliseconds(20))
    }
}
