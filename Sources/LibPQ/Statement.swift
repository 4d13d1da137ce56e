/// One SQL statement with its parameters.
public struct Statement: Sendable, Hashable {
    public var sql: String
    public var parameters: [Parameter]
    /// Whether the connection may keep the statement prepared under a name, to plan it once.
    /// ``ConnectionSettings/preparesStatements`` can switch that off for all.
    public var prepared: Bool

    /// - Parameters:
    ///   - sql: exactly one statement, with `$1 … $n` for its values.
    ///   - parameters: at most 65 535 values.
    ///   - prepared: false for a statement that isn't going to be repeated.
    public init(_ sql: String, _ parameters: [Parameter] = [], prepared: Bool = true) {
        self.sql = sql
        self.parameters = parameters
        self.prepared = prepared
    }
}
