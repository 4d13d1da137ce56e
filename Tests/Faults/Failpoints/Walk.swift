import TestSupport

/// Walks one cell: a deletion is held at its moment, something goes wrong, and the client insists on its answer.
struct Walk {
    private let scene: FailpointScene
    private let cell: Cell
    private var report: CellReport

    static func walk(_ cell: Cell, on scene: FailpointScene) async throws -> CellReport {
        let (customer, truth) = try await cell.target.make(for: scene.tenant)
        let report = CellReport(cell: cell, customer: customer, truth: truth, idempotencyKey: newID())
        var walk = Walk(scene: scene, cell: cell, report: report)
        try await walk.run()
        return walk.report
    }

    private init(scene: FailpointScene, cell: Cell, report: CellReport) {
        self.scene = scene
        self.cell = cell
        self.report = report
    }

    private mutating func run() async throws {
        let (question, resume) = try await arrive()
        let start = ContinuousClock.now
        if let resume {
            report.isReached = true
            try await cell.fault.strike(scene, question, resume: resume)
        }
        let first = await question.answer
        report.sent.append(.init(requestID: question.requestID, status: first?.status))
        try await insist(since: start)
        report.elapsed = ContinuousClock.now - start

        let isExpected = cell.moment.exists(for: cell.target)
        report.expect(report.isReached == isExpected, isExpected ? "it wasn't reached" : "it was reached")
        if let first, ![409, 503].contains(first.status) { expectTruth(first) }
        if let answer = report.answer { expectTruth(answer) }
        report.expect(report.answer != nil && report.elapsed < .seconds(30), "the key was stuck")
        let isThere = try await scene.tenant.hasCustomer(report.customer)
        report.expect(isThere == (cell.target == .blocked), isThere ? "the customer is there" : "the customer is gone")
    }

    private mutating func expectTruth(_ answer: HTTPAnswer) {
        report.expect(
            answer.status == report.truth.status && answer.body == report.truth.body,
            "it was answered with \(answer.status) \(answer.body)")
    }

    /// Asks again with the same key until there is an answer.
    private mutating func insist(since start: ContinuousClock.Instant) async throws {
        while ContinuousClock.now - start < .seconds(35) {
            let question = ask()
            let answer = await question.answer
            report.sent.append(.init(requestID: question.requestID, status: answer?.status))
            if let answer, ![409, 503].contains(answer.status) {
                report.answer = answer
                return
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func ask() -> Question {
        Question(report.customer, of: scene.tenant, idempotencyKey: report.idempotencyKey)
    }

    // MARK: - To the moment

    private typealias Arrival = (question: Question, resume: (() async -> Void)?)

    /// Asks, and returns when the request is held at its moment or is over without having come there.
    private func arrive() async throws -> Arrival {
        switch cell.moment {
        case .request(let name):
            try scene.failpoints.arm(name)
            let question = ask()
            return (question, try await hold(at: name, orUntil: question))
        case .obstacle(.enter):
            return try await meet(.enter, after: "before enter")
        case .obstacle(let obstacle):
            return try await meet(obstacle)
        case .doubt(let name):
            return try await doubt(before: name)
        case .release(let name):
            return try await giveUp(before: name)
        case .recovery(let name):
            return try await recover(before: name)
        }
    }

    /// - Parameter question: when it is over, the moment won't come; nil when it comes afterwards.
    private func hold(at name: String, orUntil question: Question? = nil) async throws -> (() async -> Void)? {
        let failpoints = scene.failpoints
        try await eventually("\(name) was reached", within: .seconds(30)) {
            failpoints.isReached(name) || question?.isOver == true
        }
        guard failpoints.isReached(name) else {
            failpoints.disarm()
            return nil
        }
        return { failpoints.resume(name) }
    }

    private func meet(_ obstacle: Obstacle, after failpoint: String? = nil) async throws -> Arrival {
        if let failpoint { try scene.failpoints.arm(failpoint) }
        var lock: OpenTransaction?
        if failpoint == nil { lock = try await obstacle.raise(before: report.customer, of: scene.tenant) }
        let question = ask()
        if let failpoint {
            try await scene.failpoints.reach(failpoint)
            lock = try await obstacle.raise(before: report.customer, of: scene.tenant)
            scene.failpoints.resume(failpoint)
        }
        let raised = lock
        var isBlocked = false
        try await eventually("the request was blocked \(obstacle.rawValue)", within: .seconds(30)) {
            isBlocked = try await scene.database.isBlocked
            return isBlocked || question.isOver
        }
        guard isBlocked else {
            try await raised?.rollBack()
            return (question, nil)
        }
        return (question, { try? await raised?.rollBack() })
    }

    /// Cuts the connection off when COMMIT has been sent, so that it is in doubt.
    private func doubt(before name: String) async throws -> Arrival {
        try scene.failpoints.arm("before enter")
        let question = ask()
        try await scene.failpoints.reach("before enter")
        scene.gate.holdReplies()
        try scene.failpoints.arm("sent enter")
        try scene.failpoints.arm(name)
        scene.failpoints.resume("before enter")
        try await scene.failpoints.reach("sent enter")
        scene.cut()
        scene.failpoints.resume("sent enter")
        return (question, try await hold(at: name))
    }

    /// Keeps the entry from being written in time, so that the attempt is given up, and is released once it can be.
    private func giveUp(before name: String) async throws -> Arrival {
        try scene.failpoints.arm("worked")
        let question = ask()
        try await scene.failpoints.reach("worked")
        let lock = try await scene.database.begin(
            "SELECT FROM service.attempts WHERE idempotency_key = '\(report.idempotencyKey)' FOR UPDATE")
        scene.failpoints.resume("worked")
        _ = await question.answer
        let first = "before release"
        try scene.failpoints.arm(first)
        try await scene.failpoints.reach(first)
        try await lock.rollBack()
        guard name != first else { return (question, { scene.failpoints.resume(first) }) }
        try scene.failpoints.arm(name)
        scene.failpoints.resume(first)
        return (question, try await hold(at: name))
    }

    /// Kills the service before it has written the entry, and lets another one find what is left.
    private func recover(before name: String) async throws -> Arrival {
        try scene.failpoints.arm("before append")
        let question = ask()
        try await scene.failpoints.reach("before append")
        await scene.service.kill()
        scene.failpoints.disarm()
        try await scene.database.run(
            """
            UPDATE service.attempts
            SET lease_expires_at = clock_timestamp() - interval '1 second'
            WHERE app_id = '\(scene.tenant.app)' AND entry_seq IS NULL
            """)
        try scene.failpoints.arm(name)
        try await scene.restart()
        return (question, try await hold(at: name))
    }
}

extension TestDatabase {
    /// Whether a session of the service waits for a lock, save that of recovery.
    fileprivate var isBlocked: Bool {
        get async throws {
            try await value(
                """
                SELECT EXISTS (
                    SELECT
                    FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'customerd_service' AND wait_event_type = 'Lock'
                      AND query NOT LIKE '%service.recover%')
                """) == "t"
        }
    }
}
