/// Whatever can keep a statement from being answered.
public enum DatabaseError: Error, Sendable, Hashable {
    /// The statement failed; the connection lives on.
    case server(ServerError)
    /// The session is gone, with the first error that the server sent about it, if any (57P01 …).
    case connectionLost(ServerError?)
    /// We stopped waiting; the connection was abandoned. What the server did with the statement is unknown.
    case deadlineExceeded
    /// No connection could be had: connecting failed, the pool was exhausted past the deadline, is backing off or
    /// is closed. Nothing was sent. The text never contains the connection string.
    case unavailable(String)
    /// The task was cancelled. A statement that was under way was cancelled on the server, too.
    case cancelled
    /// The database answered, but not what this program understands: a defect of one of the two.
    case unexpected(String)

    public var serverError: ServerError? {
        switch self {
        case .server(let error): error
        case .connectionLost(let error): error
        case .deadlineExceeded, .unavailable, .cancelled, .unexpected: nil
        }
    }

    public var sqlstate: SQLState? {
        serverError?.sqlstate
    }

    /// The same transaction may succeed when it is run again: 40001 and 40P01.
    public var isRetryable: Bool {
        sqlstate == .serializationFailure || sqlstate == .deadlockDetected
    }

    /// The database couldn't be reached or couldn't take the work: the request wasn't at fault.
    ///
    /// Classes 08 and 53, 57P0x, 55P03, 57014 and 25006, and everything that isn't `server`.
    public var isUnavailability: Bool {
        if case .unexpected = self { return false }
        guard case .server(let error) = self else { return true }
        let state = error.sqlstate
        return state.errorClass == "08" || state.errorClass == "53" || state.rawValue.hasPrefix("57P0")
            || state == .lockNotAvailable || state == .queryCanceled || state == .readOnlyTransaction
    }
}

extension DatabaseError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .server(let error): "\(error)"
        case .connectionLost(let error?): "connection lost (\(error))"
        case .connectionLost(nil): "connection lost"
        case .deadlineExceeded: "deadline exceeded"
        case .unavailable(let reason): "database unavailable: \(reason)"
        case .cancelled: "cancelled"
        case .unexpected(let answer): "unexpected answer: \(answer)"
        }
    }
}
