import Foundation
import LibPQ
import TestSupport
import Testing

/// With a cluster of their own that has a certificate.
@Suite(
    "TLS",
    .enabled("openssl is installed") { FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl") },
    .enabled("the server was built with TLS") {
        try await PrivateCluster.shared.psql("SHOW ssl_library").contains(where: \.isLetter)
    })
struct TLSTests {
    @Test("large values pass over TLS, whose records are larger than what is read at a time")
    func largeValues() async throws {
        let cluster = try await aside { try PrivateCluster(speaksTLS: true) }
        let url = try cluster.tcpURL + "?sslmode=require"
        let settings = ConnectionSettings(conninfo: url, connectTimeout: .seconds(60))
        let connection = try await Connection.connect(settings, deadline: .soon)
        let bytes = [UInt8](Data(repeating: 0xA5, count: 16 << 20))

        #expect(try await connection.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t")
        let echo = try await connection.query(Statement("SELECT $1::bytea", [.bytes(bytes)]), deadline: .soon)
        #expect(echo.rows[0].bytes(0).map { Data($0) } == Data(bytes))
        for size in [8191, 8192, 16383, 16384, 16385, 24_576, 100_000] {
            let text = try await connection.value("SELECT repeat('x', $1::int)", [.int(size)])
            #expect(text?.utf8.count == size)
        }

        await connection.close()
        try await aside { try cluster.stop(mode: "immediate") }
    }
}
