import LibPQ
import TestSupport
import Testing

@Suite("Connecting")
struct ConnectTests {
    private func connect(_ conninfo: String, timeout: Duration = .seconds(5)) async throws -> Connection {
        try await Connection.connect(
            ConnectionSettings(conninfo: conninfo, applicationName: "tests", connectTimeout: timeout), deadline: .soon
        )
    }

    @Test("the session carries the application's name")
    func applicationName() async throws {
        let connection = try await connect(PrivateCluster.shared.url())

        #expect(try await connection.value("SELECT current_setting('application_name')") == "tests")
        #expect(try await connection.value("SELECT current_setting('client_encoding')") == "UTF8")
        await connection.close()
    }

    @Test("a server that doesn't exist is unavailable")
    func refused() async throws {
        await #expect {
            try await connect("host=127.0.0.1 port=1")
        } throws: { error in
            guard case .unavailable(let reason) = error as? DatabaseError else { return false }
            return reason.contains("refused")
        }
    }

    @Test(
        "a malformed connection string isn't printed",
        arguments: [
            "postgresql://user:s3cret@host:port:x/db", "postgresql://user:p@s3cret@host/db", "password=s3cret nonsense",
        ]
    )
    func malformed(conninfo: String) async throws {
        await #expect {
            try await connect(conninfo)
        } throws: { error in
            !"\(error)".contains("s3cret")
        }
    }

    @Test("connecting to a server that accepts and never answers ends at the timeout", .enabled(if: canUseGate))
    func silentServer() async throws {
        let gate = try TCPGate.beforeSharedCluster()
        gate.holdReplies()

        await #expect(throws: DatabaseError.unavailable("connecting took too long")) {
            try await connect(
                "postgresql://postgres@127.0.0.1:\(gate.port)/postgres?sslmode=disable", timeout: .milliseconds(300)
            )
        }
        gate.cut()
    }

    @Test("a deadline ends connecting before the host's own time is over", .enabled(if: canUseGate))
    func deadline() async throws {
        let gate = try TCPGate.beforeSharedCluster()
        gate.holdReplies()
        var settings = ConnectionSettings.shared(through: gate)
        settings.connectTimeout = .seconds(3600)

        await #expect(throws: DatabaseError.unavailable("connecting took too long")) {
            try await Connection.connect(settings, deadline: .now + .milliseconds(200))
        }

        gate.cut()
    }

    @Test("canceling the task ends connecting", .enabled(if: canUseGate))
    func cancelled() async throws {
        let gate = try TCPGate.beforeSharedCluster()
        gate.holdReplies()
        var settings = ConnectionSettings.shared(through: gate)
        settings.connectTimeout = .seconds(3600)
        let task = Task { [settings] in try await Connection.connect(settings, deadline: .now + .seconds(3600)) }
        try await eventually("the attempt is under way") { gate.connectionCount == 1 }

        task.cancel()

        await #expect(throws: DatabaseError.cancelled) { try await task.value }
        gate.cut()
    }

    @Test(
        "after a host that refuses or says nothing, the next one is tried", .enabled(if: canUseGate),
        arguments: [true, false])
    func nextHost(isSilent: Bool) async throws {
        let silent = try TCPGate.beforeSharedCluster()
        let open = try TCPGate.beforeSharedCluster()
        silent.holdReplies()
        let ports = isSilent ? "\(silent.port),\(open.port)" : "1,\(open.port)"

        let connection = try await connect(
            "host=127.0.0.1,127.0.0.1 port=\(ports) user=postgres dbname=postgres sslmode=disable",
            timeout: .seconds(2)
        )

        #expect(try await connection.value("SELECT 1") == "1")
        #expect(open.connectionCount == 1)
        await connection.close()
        silent.cut()
    }

    @Test("a session that may only read isn't taken for one that may write")
    func targetSession() async throws {
        let url = PrivateCluster.shared.url()
        let separator = url.contains("?") ? "&" : "?"
        let readOnly = "\(url)\(separator)options=-c%20default_transaction_read_only%3Don"

        await #expect(throws: DatabaseError.self) { try await connect("\(readOnly)&target_session_attrs=read-write") }
        let connection = try await connect("\(readOnly)&target_session_attrs=read-only")

        #expect(connection.isUsable)
        await connection.close()
    }
}
