import Logging
import TestSupport
import Testing

@testable import LibPQ

/// A pool to two nodes, which are two ways to one server.
@Suite("A pool with a placement")
struct PlacementTests {
    private struct Places: Placement {
        private let homes: [UUID: Node]

        init(_ homes: [UUID: Node]) {
            self.homes = homes
        }

        var nodes: [Node] { Array(homes.values) }

        func node(of group: UUID, deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Node {
            guard let node = homes[group] else { throw .unavailable("an unknown group") }
            return node
        }

        func forget(_ group: UUID) {}
    }

    private static func pool(_ placement: Places) -> ConnectionPool {
        ConnectionPool(
            settings: ConnectionSettings(conninfo: "postgresql://postgres@127.0.0.1:1/postgres?sslmode=disable"),
            configuration: PoolConfiguration(size: 2), placement: placement,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    private static func gate() throws -> TCPGate {
        try TCPGate(before: #require(PrivateCluster.shared.socketPath))
    }

    @Test("lends a connection to the node of the group, and a node that is away takes along its own groups alone")
    func lends() async throws {
        let gates = try [Self.gate(), Self.gate()]
        let groups = [UUID(), UUID()]
        let nodes = gates.enumerated().map { Node(number: $0, host: "127.0.0.1", port: $1.port) }
        let pool = Self.pool(Places(Dictionary(uniqueKeysWithValues: zip(groups, nodes))))
        func port(_ group: UUID, by deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Int? {
            try await pool.withConnection(for: group, deadline: deadline) { connection throws(DatabaseError) in
                _ = try await connection.value("SELECT 1")
                return pool.places.first { $0.statistics.inUse == 1 }?.settings.node?.port
            }
        }

        let lent = [try await port(groups[0], by: .soon), try await port(groups[1], by: .soon)]
        gates[1].refuse()
        gates[1].cut()

        #expect(lent == nodes.map { Optional($0.port) })
        #expect(try await port(groups[0], by: .soon) == nodes[0].port)
        await #expect(throws: DatabaseError.self) { try await port(groups[1], by: .now + .milliseconds(300)) }
        #expect(pool.places.count == 2)
        await pool.shutdown()
    }
}
