import TestSupport

/// What goes wrong.
enum Fault: String, CaseIterable, Sendable {
    case kill = "kill -9 of the service"
    case terminate = "pg_terminate_backend"
    case restart = "immediate restart of PostgreSQL"
    case cut = "connections cut"
    case stall = "connections stalled"

    /// Lets it happen while a request is held at its moment.
    ///
    /// - Parameter resume: lets the request go on.
    func strike(_ scene: FailpointScene, _ question: Question, resume: () async -> Void) async throws {
        switch self {
        case .kill:
            await scene.service.kill()
            await resume()
            try await scene.restart()
        case .terminate:
            _ = try await scene.database.value(
                """
                SELECT count(pg_terminate_backend(pid))
                FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'customerd_service'
                """)
            await resume()
        case .restart:
            let cluster = scene.database.cluster
            await scene.database.closeSessions()
            try await aside { try cluster.stop(mode: "immediate") }
            await resume()
            try await aside { try cluster.start() }
        case .cut:
            scene.gate.cut()
            await resume()
        case .stall:
            let wasOver = question.isOver
            scene.gate.holdRequests()
            scene.gate.holdReplies()
            await resume()
            // Past its deadline the service has given up, and what it had sent still lies in the gate.
            try? await eventually("the service gave up", within: .milliseconds(scene.timeout * 1000 + 500)) {
                wasOver ? try await !scene.service.isReady : question.isOver
            }
            scene.gate.release()
        }
    }
}
