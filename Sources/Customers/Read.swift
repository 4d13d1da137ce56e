public import LibPQ
public import Logging

/// The life of a read: admission → query → answer. It leaves no attempt and, but for an export, no entry behind.
public struct Read: Sendable {
    let admission: Admission
    let execution: Execution
    let pool: ConnectionPool
    let feed: EventFeed
    let webhooks: WebhookSender?
    let logger: Logger

    /// - Parameter webhooks: what sends pings; nil when webhooks are off.
    public init(
        admission: Admission, execution: Execution, pool: ConnectionPool, feed: EventFeed, webhooks: WebhookSender?,
        logger: Logger
    ) {
        self.admission = admission
        self.execution = execution
        self.pool = pool
        self.feed = feed
        self.webhooks = webhooks
        self.logger = logger
    }

    /// That of a stream in a task of its own: a task keeps its stack, 46 KiB after an admission, for as long as it runs, and
    /// that of the connection runs as long as the stream.
    public func callAsFunction(_ operation: ReadOperation, _ request: APIRequest) async -> Answer {
        guard request.wantsEventStream else { return await carryOut(operation, request) }
        return await Task(executorPreference: Reactor.shared.taskExecutor) { await carryOut(operation, request) }.value
    }

    private func carryOut(_ operation: ReadOperation, _ request: APIRequest) async -> Answer {
        switch operation.kind {
        case .query(let plan):
            await query(operation, request, Result { () throws(Invalidity) in try plan(request) })
        case .queries(let plan):
            await answer(operation, request, Result { () throws(Invalidity) in try plan(request) }) {
                queries, caller, _ throws(DatabaseError) in
                try await pool.withConnection(for: caller.appID, deadline: request.deadline) {
                    connection throws(DatabaseError) in try await queries(connection, caller)
                }
            }
        case .events: await events(operation, request)
        case .ping: await ping(operation, request)
        case .export: await export(operation, request)
        }
    }

    /// Asks in the round trip of the admission if it can.
    private func query(
        _ operation: ReadOperation, _ request: APIRequest, _ plan: Result<ReadOperation.Query, Invalidity>
    ) async -> Answer {
        await answer(operation, request, plan, asking: (try? plan.get())?.statement) {
            query, caller, found throws(DatabaseError) in
            if let found { return try query.answer(try found.get()) }
            let asked = try await pool.withConnection(for: caller.appID, deadline: request.deadline) {
                connection throws(DatabaseError) in
                try await connection.query(query.statement(caller.appID), deadline: request.deadline)
            }
            return try query.answer(asked)
        }
    }

    /// - Parameters:
    ///   - plan: what to ask, or what is wrong with the request; the latter is told only to those who may ask at all.
    ///   - question: see ``Admission/authorize(_:from:_:isValid:asking:deadline:)``.
    ///   - ask: what asks for it, unless the question has been asked.
    func answer<Plan>(
        _ operation: ReadOperation, _ request: APIRequest, _ plan: Result<Plan, Invalidity>,
        asking question: ((UUID) -> Statement)? = nil,
        _ ask: (Plan, Caller, Result<QueryResult, DatabaseError>?) async throws(DatabaseError) -> Answer
    ) async -> Answer {
        var rate: RateStatus?
        do throws(DatabaseError) {
            let (decision, found) = try await admission.authorize(
                request.credentials, from: request.context.ip, operation.permissions, isValid: plan.failure == nil,
                asking: question, deadline: request.deadline)
            rate = decision.rate
            if let refusal = decision.refusal { return refusal.error.answer.with(rate) }
            guard let caller = decision.caller else { throw .unexpected("a read is admitted without a key") }
            switch plan {
            case .success(let plan):
                return try await ask(plan, caller, found).with(rate)
            case .failure(let invalidity):
                return APIError.invalid(invalidity).answer.with(rate)
            }
        } catch {
            return answer(to: error, unavailable: error.isUnavailability).with(rate)
        }
    }

    /// - Parameter error: why there is no other answer.
    func answer(to error: any Error, unavailable: Bool) -> Answer {
        guard unavailable else {
            logger.error("a read failed", metadata: ["error": "\(error)"])
            return APIError.unforeseen.answer
        }
        logger.warning("a read is unavailable", metadata: ["error": "\(error)"])
        return APIError.unavailable.answer
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}
