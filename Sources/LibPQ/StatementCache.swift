/// The statements that one session keeps prepared, by name.
///
/// Names are never reused, so a statement that has been forgotten here may still exist in the session.
struct StatementCache {
    struct Key: Hashable {
        var sql: String
        /// Which parameters are sent as `bytea`; the types of the others are inferred.
        var binaries: [Bool]

        init(_ statement: Statement) {
            sql = statement.sql
            binaries = statement.parameters.map { if case .bytes = $0 { true } else { false } }
        }
    }

    /// How a trip sends its statements.
    struct Plan {
        fileprivate(set) var steps: [Trip.Step] = []
        /// By statement; nil for one that isn't prepared.
        fileprivate var keys: [Key?] = []
    }

    private var names: [Key: String] = [:]
    private var counter = 0
    private let limit: Int

    /// - Parameter limit: past it, statements aren't prepared. Text that is never repeated has no use for a name, and
    ///   would fill the server's memory.
    init(limit: Int = 256) {
        self.limit = limit
    }

    /// Plans to prepare what is new to the session, and to execute all statements.
    ///
    /// - Parameters:
    ///   - isPinning: whether the transaction of these statements sets the session parameters first.
    ///   - isSplit: whether each statement is a transaction of its own.
    mutating func plan(
        _ statements: [Statement], isPreparing: Bool, isPinning: Bool = false, isSplit: Bool = false
    ) -> Plan {
        var plan = Plan()
        var fresh: [Key: String] = [:]
        for (index, statement) in statements.enumerated() {
            if isSplit, index > 0 { plan.steps.append(.sync) }
            guard isPreparing, statement.prepared else {
                plan.keys.append(nil)
                plan.steps.append(.execute(statement: index, name: nil))
                continue
            }
            let key = Key(statement)
            var name = names[key] ?? fresh[key]
            if name == nil, names.count < limit {
                let newName = makeName()
                fresh[key] = newName
                name = newName
                plan.steps.append(.prepare(statement: index, name: newName))
            }
            plan.keys.append(key)
            plan.steps.append(.execute(statement: index, name: name))
        }
        if isPinning { plan.steps.insert(.pin, at: statements.first == .begin ? 1 : 0) }
        return plan
    }

    /// Remembers what a trip has prepared, and forgets what the server has forgotten.
    mutating func update(with trip: Trip, of plan: Plan) {
        for case .prepare(let statement, let name) in trip.preparedSteps {
            if let key = plan.keys[statement] { names[key] = name }
        }
        if let stale = trip.stalePlan, let key = plan.keys[stale] { names[key] = nil }
    }

    private mutating func makeName() -> String {
        counter += 1
        return "customerd_\(counter)"
    }
}
