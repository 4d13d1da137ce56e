import LibPQ
import TestSupport
import Testing

/// There is no room left for PostgreSQL's WAL, so it panics, and may not come up again before there is.
@Suite("A disk that is full", .stages)
struct FullDiskTests {
    @Test(
        "for WAL, under load: 503 meanwhile, then automatic recovery, and every answer was true",
        .enabled(
            if: PrivateCluster.canLimitWAL,
            "a small file system for the WAL takes root, and a kernel that lets it mount"))
    func walIsFull() async throws {
        let settings = ["min_wal_size = 2MB", "max_wal_size = 4MB"]
        let scene = try await OutageScene.open(in: .ownCluster(settings: settings, walMegabytes: 16))
        let cluster = scene.database.cluster
        let load = try await Load(tenant: scene.tenant, customers: 400)
        try await scene.database.run("CREATE TABLE filler (text text)")

        async let run: Void = load.run(clients: 8)
        try await eventually("the load went on") { load.answered >= 40 }
        try await aside { try cluster.fillWAL() }
        try await eventually("PostgreSQL panicked", within: .seconds(40)) {
            // The load alone would take longer to use up the segments that are there.
            _ = try? await scene.database.run(
                "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 500)")
            return cluster.log.contains("PANIC:")
        }
        try await eventually("requests were refused") { load.count(of: 503) > 0 }
        cluster.emptyWAL()
        let (_, recovery) = try await timed {
            try await eventually("the service was back", within: .seconds(60)) {
                // It may have given up, or give up only now.
                try await aside { try cluster.start() }
                return try await scene.service.isReady
            }
        }
        try await run

        #expect(cluster.log.contains("No space left on device"))
        #expect(try await load.untruths(patience: .seconds(60)) == [])
        print("full disk: \(load.count(of: 503)) requests got a 503; ready \(recovery) after there was room again")
    }
}
