/// An effect on one customer, and the time within which it came about.
struct TimedEffect: Sendable, Hashable {
    /// The call that asked for it; nil for what was done past the service.
    var call: Int?
    var effect: Effect
    var start: Instant
    var end: Instant
    /// What is tried first where several come next; only a hint.
    var hint: Int = .max
    /// For people.
    var summary: String
}
