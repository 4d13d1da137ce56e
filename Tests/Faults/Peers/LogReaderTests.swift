import Foundation
import TestSupport
import Testing

/// The reader of standard error may stop: a pipe holds 64 KiB.
@Suite("A reader of the log that stops reading", .stages)
struct LogReaderTests {
    @Test("delays no request; what it missed is counted, in the metrics and in the log")
    func stopped() async throws {
        let pipe = try LogPipe()
        let stage = try await Stage.open(errors: pipe)
        let service = stage.service
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        try await eventually("log lines were dropped", within: .seconds(60)) {
            try await chatter(with: service, requests: 500)
            return try await dropped(by: service) > 0
        }
        #expect(try await tenant.delete(customer.id).status == 200)

        var log = ""
        try await eventually("the log said how many lines it lacks") {
            log = String(log.suffix(100)) + pipe.take()
            return log.contains(/[1-9][0-9]* log lines were dropped here/)
        }

        // The reader has stopped again when the service is stopped.
        try await chatter(with: service, requests: 1000)
    }

    /// Has the service write a line of some hundred bytes for each request.
    private func chatter(with service: RunningService, requests: Int) async throws {
        let id = String(repeating: "x", count: 128)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 1...4 {
                group.addTask {
                    for _ in 1...requests / 4 {
                        let answer = try await HTTPCall("GET", "/health/live", headers: [("x-request-id", id)])
                            .send(to: service.port)
                        #expect(answer.status == 200)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func dropped(by service: RunningService) async throws -> Int {
        let metrics = try await HTTPCall("GET", "/metrics").send(to: service.port).body
        let line = try #require(metrics.firstMatch(of: /(?m)^customerd_log_lines_dropped_total (\d+)/))
        return try #require(Int(line.output.1))
    }
}
