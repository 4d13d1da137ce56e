import TestSupport
import Testing

extension Load {
    /// What must hold, whatever was killed in between.
    func expectTruth() async throws {
        #expect(try await untruths() == [])
    }
}
