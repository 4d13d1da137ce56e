public import LibPQ
public import Logging

/// The life of a read: admission → query → answer. It leaves no attempt and no entry behind.
public struct Read: Sendable {
    private let admission: Admission
    private let pool: ConnectionPool
    private let logger: Logger

    public init(admission: Admission, pool: ConnectionPool, logger: Logger) {
        self.admission = admission
        self.pool = pool
        self.logger = logger
    }

    /// What a read does: it runs on a connection, for a caller with a question, and has an answer.
    public typealias Query<Question: Sendable> =
        @Sendable (Connection, Caller, Question, ContinuousClock.Instant) async throws(DatabaseError) -> Answer

    /// - Parameters:
    ///   - permissions: all of them are needed.
    ///   - question: what is asked, or what is wrong with it; the latter is told only to those who may ask at all.
    public func callAsFunction<Question: Sendable>(
        _ credentials: Credentials,
        _ permissions: [Permission],
        _ question: Result<Question, Invalidity>,
        deadline: ContinuousClock.Instant,
        _ query: Query<Question>
    ) async -> Answer {
        var rate: RateStatus?
        do throws(DatabaseError) {
            let decision = try await admission.authorize(
                credentials, permissions, isValid: question.isValid, deadline: deadline)
            rate = decision.rate
            if let refusal = decision.refusal { return refusal.error.answer.with(rate) }
            guard let caller = decision.caller else { throw .unexpected("a read is admitted without a key") }
            switch question {
            case .success(let asked):
                return try await pool.withConnection(for: caller.appID, deadline: deadline) {
                    connection throws(DatabaseError) in
                    try await query(connection, caller, asked, deadline)
                }.with(rate)
            case .failure(let invalidity):
                return APIError.invalid(invalidity).answer.with(rate)
            }
        } catch {
            return answer(to: error).with(rate)
        }
    }

    private func answer(to error: DatabaseError) -> Answer {
        guard error.isUnavailability else {
            logger.error("a read failed", metadata: ["error": "\(error)"])
            return APIError.unforeseen.answer
        }
        logger.warning("a read is unavailable", metadata: ["error": "\(error)"])
        return APIError.unavailable.answer
    }
}

extension Result {
    fileprivate var isValid: Bool {
        if case .success = self { true } else { false }
    }
}
