/// Runs a body so many times at once.
///
/// - Returns: the results in the order of the indices.
public func simultaneously<Value: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Int) async throws -> Value
) async throws -> [Value] {
    try await withThrowingTaskGroup(of: (Int, Value).self) { group in
        for index in 0..<count { group.addTask { (index, try await body(index)) } }
        return try await group.reduce(into: [(Int, Value)]()) { $0.append($1) }
    }.sorted { $0.0 < $1.0 }.map(\.1)
}
