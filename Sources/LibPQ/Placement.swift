import NIOConcurrencyHelpers

/// One of the servers over which the rows of a database are spread.
public struct Node: Sendable, Hashable {
    public let number: Int
    public let host: String
    public let port: Int

    public init(number: Int, host: String, port: Int) {
        self.number = number
        self.host = host
        self.port = port
    }
}

/// Which node has the rows of a group of callers, where the database is spread over several.
///
/// A ``ConnectionPool`` with a placement lends connections to the node of the group that asks. A pool without one has
/// one server.
public protocol Placement: Sendable {
    /// All nodes that have rows, as far as it is known now.
    var nodes: [Node] { get }

    /// - Throws: ``DatabaseError/unavailable(_:)`` and the like, if none of the nodes could tell.
    func node(of group: UUID, deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Node

    /// Notes that the rows of a group were not where they had been.
    func forget(_ group: UUID)
}

extension ConnectionPool {
    /// The pool to the node that has the rows of a group: this one, if there is one server.
    ///
    /// - Throws: if the node isn't known and none could tell.
    public func home(
        of group: UUID?, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ConnectionPool {
        guard let placement, let group else { return self }
        return branch(try await placement.node(of: group, deadline: deadline))
    }

    /// Notes that the rows of a group were not where they had been.
    public func forgetHome(of group: UUID) {
        placement?.forget(group)
    }

    /// The pools to all nodes that have rows: this one alone, if there is one server.
    public var places: [ConnectionPool] {
        guard let placement else { return [self] }
        return placement.nodes.map(branch)
    }

    /// Asks every node that has rows, all of them at a time, so that one that doesn't answer keeps no other from its turn: this
    /// server alone, if there is one.
    ///
    /// - Returns: what came back, and why a node didn't answer, if one didn't.
    public func atEveryPlace<Answer: Sendable>(
        fallingBackTo substitute: ConnectionPool? = nil, deadline: ContinuousClock.Instant,
        _ body: @escaping @Sendable (Connection) async throws(DatabaseError) -> Answer
    ) async -> (answers: [Answer], failure: DatabaseError?) {
        let substitutes = substitute?.places ?? []
        let results = await withTaskGroup(of: Result<Answer, DatabaseError>.self) { group in
            for (index, place) in places.enumerated() {
                let substitute = index < substitutes.count ? substitutes[index] : nil
                group.addTask {
                    do throws(DatabaseError) {
                        guard let substitute else {
                            return .success(try await place.withConnection(deadline: deadline, body))
                        }
                        return .success(
                            try await place.withConnection(fallingBackTo: substitute, deadline: deadline, body))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        var (answers, failure): ([Answer], DatabaseError?) = ([], nil)
        for result in results {
            switch result {
            case .success(let answer): answers.append(answer)
            case .failure(let error): failure = error
            }
        }
        return (answers, failure)
    }

    /// The pool to a node, of the size of this one; made when it is first asked for.
    func branch(_ node: Node) -> ConnectionPool {
        branches.withLockedValue { branches in
            if let branch = branches[node] { return branch }
            var settings = settings
            settings.node = node
            let branch = ConnectionPool(
                settings: settings, configuration: configuration, logger: logger, name: "\(name)-\(node.number)")
            branches[node] = branch
            return branch
        }
    }
}

extension Connection {
    /// Whether the database is spread over several nodes: it has the extension Citus. There, a query over all apps can't
    /// be recursive.
    public func isDistributed(deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Bool {
        let statement = Statement(
            "SELECT 1 FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'citus'", prepared: false)
        return try await !query(statement, deadline: deadline).rows.isEmpty
    }
}

extension ServerError {
    /// Whether another node than the one that was asked met the error. Citus says so in the context, and leaves out the
    /// names of constraint and table.
    public var isRelayed: Bool {
        context?.contains("while executing command on ") ?? false
    }
}
