import Testing

extension Load {
    /// What must hold, whatever was killed in between.
    public func expectTruth() async throws {
        #expect(try await untruths() == [])
    }
}
