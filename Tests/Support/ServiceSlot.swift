public import Testing

/// Lets a suite wait for its turn to have a service running.
///
/// A suite's trait, not a line in its tests: a test that waits for its turn keeps one of the places for tests that run
/// at one time, which the suites whose turn it is need.
public struct ServiceSlot: SuiteTrait, TestScoping {
    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Slots.services.take()
        defer { Slots.services.giveBack() }
        try await function()
    }
}

extension Trait where Self == ServiceSlot {
    public static var serviceSlot: ServiceSlot { ServiceSlot() }
}
