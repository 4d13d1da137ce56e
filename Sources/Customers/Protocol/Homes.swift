public import LibPQ
public import Logging
import NIOConcurrencyHelpers

/// Where the rows of each app are, in a database that is distributed by app: a request goes to the node that has them, so
/// that a unit of work commits on one node, as on a single server.
///
/// Every node knows where all apps are, so any that answers is asked. The answer holds for five seconds: when an app has
/// moved, the node that had it still does what it is asked, on the new one.
///
/// The SQL stands in sql/functions/nodes.sql.
public final class Homes: Placement {
    private static let memory = Duration.seconds(5)
    private static let patience = Duration.seconds(1)

    private struct Home {
        var node: Node
        var until: ContinuousClock.Instant
    }

    private struct State {
        var nodes: [Node]
        var homes: [UUID: Home] = [:]
    }

    private let state: NIOLockedValueBox<State>
    /// A session to each node that there was at first.
    public let pools: [ConnectionPool]

    /// - Parameter nodes: as ``nodes(_:deadline:)`` found them.
    public init(_ nodes: [Node], settings: ConnectionSettings, logger: Logger) {
        state = NIOLockedValueBox(State(nodes: nodes))
        pools = nodes.map { node in
            var settings = settings
            settings.node = node
            return ConnectionPool(
                settings: settings, configuration: PoolConfiguration(size: 1), logger: logger,
                name: "homes-\(node.number)")
        }
    }

    /// The nodes of a distributed database; none on a single server.
    public static func nodes(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [Node] {
        var nodes: [Node] = []
        let statement = Statement("SELECT node, host, port FROM service.nodes()", prepared: false)
        for row in try await connection.query(statement, deadline: deadline).rows {
            nodes.append(Node(number: try row.get("node"), host: try row.get("host"), port: try row.get("port")))
        }
        return nodes
    }

    public var nodes: [Node] {
        state.withLockedValue { $0.nodes }
    }

    public func forget(_ group: UUID) {
        state.withLockedValue { $0.homes[group]?.until = .now }
    }

    public func node(of group: UUID, deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Node {
        let known: Home? = state.withLockedValue { state in
            let known = state.homes[group]
            // One caller asks; the others go where the app was, meanwhile.
            if let known, known.until <= .now { state.homes[group]?.until = .now + Self.memory }
            return known
        }
        if let known, known.until > .now { return known.node }
        do {
            return try await find(group, deadline: deadline)
        } catch {
            guard let known else { throw error }
            return known.node
        }
    }

    /// On which app's node to decide about credentials that aren't known yet.
    func app(
        of credentials: Credentials, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> UUID {
        let statement = Statement(
            "SELECT service.app_of($1, $2) AS app_id",
            [.text(credentials.clientKey), .bytes(credentials.secretDigest)])
        return try await ask(deadline: deadline) { connection, deadline throws(DatabaseError) in
            try await connection.query(statement, deadline: deadline).row().get("app_id")
        }
    }

    private func find(_ group: UUID, deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Node {
        let statement = Statement("SELECT service.home($1) AS node", [.uuid(group)])
        let (number, nodes) = try await ask(deadline: deadline) { connection, deadline throws(DatabaseError) in
            let number: Int = try await connection.query(statement, deadline: deadline).row().get("node")
            guard !self.nodes.contains(where: { $0.number == number }) else { return (number, self.nodes) }
            return (number, try await Self.nodes(connection, deadline: deadline))
        }
        guard let node = nodes.first(where: { $0.number == number }) else {
            throw .unexpected("an app lies on node \(number), which there isn't")
        }
        state.withLockedValue { state in
            state.nodes = nodes
            state.homes[group] = Home(node: node, until: .now + Self.memory)
        }
        return node
    }

    /// Asks one node after the other until one answers; those that can be reached come first.
    private func ask<Answer: Sendable>(
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection, ContinuousClock.Instant) async throws(DatabaseError) -> Answer
    ) async throws(DatabaseError) -> Answer {
        var lastError = DatabaseError.deadlineExceeded
        for pool in pools.filter(\.isReachable) + pools.filter({ !$0.isReachable }) {
            let deadline = min(deadline, .now + Self.patience)
            do {
                return try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                    try await body(connection, deadline)
                }
            } catch {
                guard error.isUnavailability else { throw error }
                lastError = error
            }
        }
        throw lastError
    }
}
