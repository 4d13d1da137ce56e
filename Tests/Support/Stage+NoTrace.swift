public import Testing

extension Stage {
    /// Expects that nothing in the whole database is about a person.
    public func expectNoTrace(of person: Person, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let traces = person.traces(in: try await database.dump())
        #expect(traces == [], sourceLocation: sourceLocation)
    }
}
