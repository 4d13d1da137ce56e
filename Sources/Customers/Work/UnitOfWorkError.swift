public import LibPQ

/// Why a unit of work has no outcome.
public enum UnitOfWorkError: Error, Sendable {
    /// The database was away or busy; it is certain that nothing was changed.
    case unavailable(DatabaseError)
    /// The COMMIT couldn't be settled in time. Recovery will.
    case inDoubt(DatabaseError)
    /// The lease was over and somebody else took the attempt: nothing was changed by this one.
    case leaseLost
    /// The database refused for a reason that isn't one of the business; nothing was changed.
    case failed(DatabaseError)
}
