/// How a transaction ended. A connection lost during COMMIT is neither success nor failure, and the type says so.
public enum TransactionOutcome<Value: Sendable>: Sendable {
    case committed(Value)
    /// The transaction has certainly not been committed.
    ///
    /// `completed` holds the results of the statements that had succeeded before the failing one, so the failing
    /// one has the index `completed.count`; as many as there were statements means that COMMIT was refused.
    case rolledBack(DatabaseError, completed: [QueryResult])
    /// COMMIT was handed over and its answer never came: the transaction may be committed, may be rolled back,
    /// and may even be committed later.
    case inDoubt(DatabaseError)
}
