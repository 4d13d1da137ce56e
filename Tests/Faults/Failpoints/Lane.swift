import Foundation
import TestSupport
import Testing

/// A cluster and a service that walk one cell after the other.
struct Lane: Sendable {
    private let scene: FailpointScene

    static func open(timeout: Int) async throws -> Lane {
        // A crash of the server is one of the faults, so it has to be durable.
        let settings = ["fsync = on", "shared_buffers = 16MB", "max_connections = 40"]
        return Lane(scene: try await FailpointScene.open(timeout: timeout, in: .ownCluster(settings: settings)))
    }

    func walk(_ queue: CellQueue) async throws -> [CellReport] {
        var reports: [CellReport] = []
        while let cell = queue.next() {
            var report = try await Walk.walk(cell, on: scene)
            let log = scene.service.log
            report.expect(!log.contains("recovery failed"), "recovery failed")
            if !report.problems.isEmpty { print("\(report.line)\n\(log.suffix(3000))") }
            reports.append(report)
        }
        try await check(&reports)
        return reports
    }

    /// What must hold once everything has come to rest.
    private func check(_ reports: inout [CellReport]) async throws {
        let tenant = scene.tenant
        try await eventually("every attempt had its entry", within: .seconds(40)) {
            try await scene.database.value("SELECT count(*) FROM service.attempts WHERE entry_seq IS NULL") == "0"
        }
        let trail = try await tenant.entries()
        for index in reports.indices { reports[index].check(trail) }
        // A plain SELECT belongs to no deletion: the service asks whether its database and its sessions are in order.
        let unknown = scene.failpoints.passed.subtracting((Moment.all + Moment.background).map(\.name))
            .filter { !$0.hasSuffix(" SELECT") }
        #expect(unknown == [], "every failpoint has its cells")
    }
}
