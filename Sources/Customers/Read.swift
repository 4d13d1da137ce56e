public import LibPQ
public import Logging

/// The life of a read: admission → query → answer. It leaves no attempt and, but for an export, no entry behind.
public struct Read: Sendable {
    let admission: Admission
    let execution: Execution
    let pool: ConnectionPool
    let logger: Logger

    public init(admission: Admission, execution: Execution, pool: ConnectionPool, logger: Logger) {
        self.admission = admission
        self.execution = execution
        self.pool = pool
        self.logger = logger
    }

    public func callAsFunction(_ operation: ReadOperation, _ request: APIRequest) async -> Answer {
        switch operation.kind {
        case .query(let plan): await answer(operation, request, Result { () throws(Invalidity) in try plan(request) })
        case .export: await export(operation, request)
        }
    }

    /// - Parameter plan: what to ask, or what is wrong with the request; the latter is told only to those who may ask at
    ///   all.
    private func answer(
        _ operation: ReadOperation, _ request: APIRequest, _ plan: Result<ReadOperation.Query, Invalidity>
    ) async -> Answer {
        var rate: RateStatus?
        do throws(DatabaseError) {
            let decision = try await admission.authorize(
                request.credentials, operation.permissions, isValid: plan.failure == nil, deadline: request.deadline)
            rate = decision.rate
            if let refusal = decision.refusal { return refusal.error.answer.with(rate) }
            guard let caller = decision.caller else { throw .unexpected("a read is admitted without a key") }
            switch plan {
            case .success(let query):
                return try await pool.withConnection(for: caller.appID, deadline: request.deadline) {
                    connection throws(DatabaseError) in try await query(connection, caller)
                }.with(rate)
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
