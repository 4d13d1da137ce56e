import Synchronization

/// What state a connection is in, readable from anywhere without asking its actor.
enum ConnectionCondition: UInt8, AtomicRepresentable, Sendable {
    case connecting
    /// Nothing is under way, no transaction is open.
    case clean
    /// A statement is under way.
    case active
    /// Nothing is under way, but a transaction is open or has failed.
    case inTransaction
    /// Of no more use.
    case closed
}
