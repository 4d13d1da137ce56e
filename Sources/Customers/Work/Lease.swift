/// The right to carry out an attempt: nobody else touches it until the lease is over, and whoever takes it away
/// raises the fence first, so that the former holder can't commit any more.
public struct Lease: Sendable, Hashable {
    public let appID: UUID
    public let attemptID: UUID
    public internal(set) var fence: Int
}
