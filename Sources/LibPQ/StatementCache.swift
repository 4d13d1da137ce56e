/// The statements that one session keeps prepared, by name.
///
/// Names are never used twice, so a statement that has been forgotten here may live on in the session.
struct StatementCache {
    struct Key: Hashable {
        var sql: String
        /// Which parameters go as `bytea`; the others' types are inferred.
        var binaries: [Bool]

        init(_ statement: Statement) {
            sql = statement.sql
            binaries = statement.parameters.map { if case .bytes = $0 { true } else { false } }
        }
    }

    private var names: [Key: String] = [:]
    private var counter = 0
    private let limit: Int

    init(limit: Int = 256) {
        self.limit = limit
    }

    /// Whether there is room. Past the limit, statements go unprepared: text that never repeats has no use for a
    /// name, and mustn't fill the server's memory.
    var hasRoom: Bool {
        names.count < limit
    }

    func name(for key: Key) -> String? {
        names[key]
    }

    mutating func makeName() -> String {
        counter += 1
        return "customerd_\(counter)"
    }

    mutating func remember(_ name: String, for key: Key) {
        names[key] = name
    }

    mutating func forget(_ key: Key) {
        names[key] = nil
    }
}
