public import LibPQ
public import Logging

/// What every read goes through: admission → query → answer. It leaves no attempt and no entry behind.
public struct ReadPath: Sendable {
    private let admission: Admission
    private let pool: ConnectionPool
    private let logger: Logger

    public init(admission: Admission, pool: ConnectionPool, logger: Logger) {
        self.admission = admission
        self.pool = pool
        self.logger = logger
    }

    /// What a query is to the read path: it runs on a connection, for a caller who asks something, and has an answer.
    public typealias Query<Question: Sendable> =
        @Sendable (Connection, Caller, Question, ContinuousClock.Instant) async throws(DatabaseError) -> Answer

    /// - Parameters:
    ///   - permissions: all of them are needed.
    ///   - question: what is asked, or what is wrong with it; the latter is told only to who may ask at all.
    public func reply<Question: Sendable>(
        _ credentials: Credentials,
        _ permissions: [Permission],
        _ question: Result<Question, Invalidity>,
        deadline: ContinuousClock.Instant,
        _ query: Query<Question>
    ) async -> Reply {
        var rate: RateStatus?
        do {
            let decision = try await admission.admit(
                credentials, permissions: permissions, isValid: question.isValid, deadline: deadline)
            rate = decision.rate
            switch decision.verdict {
            case .admitted, .invalid:
                guard let caller = decision.caller else { return Reply(APIError.unforeseen.answer) }
                let asked: Question
                switch question {
                case .success(let valid): asked = valid
                case .failure(let invalidity): return Reply(APIError.invalid(invalidity).answer, rate)
                }
                let answer = try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                    try await query(connection, caller, asked, deadline)
                }
                return Reply(answer, rate)
            case .unauthenticated: return Reply(APIError.invalidCredentials.answer)
            case .rateLimited(let seconds):
                return Reply(APIError.rateLimited(retryAfter: seconds).answer, rate)
            case .forbidden: return Reply(APIError.insufficientPermissions.answer, rate)
            case .run, .replay, .mismatch, .running: return Reply(APIError.unforeseen.answer, rate)
            }
        } catch {
            return Reply(answer(to: error), rate)
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
