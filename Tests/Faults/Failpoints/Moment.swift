/// When a deletion is struck: each step of the protocol, in the service or inside the database.
enum Moment: Hashable, Sendable {
    /// The request comes to a failpoint.
    case request(String)
    /// A COMMIT in doubt has the service come to it.
    case doubt(String)
    /// An attempt that was given up has the service come to it.
    case release(String)
    /// An instance comes to it that recovers what a killed one left.
    case recovery(String)
    /// A session of the database waits in the middle of a trip.
    case obstacle(Obstacle)

    static let all: [Moment] = {
        let steps: [[Moment]] = [
            trips("admit").map { .request($0) },
            [.request("admitted")],
            trips("enter").map { .request($0) },
            [.obstacle(.enter), .obstacle(.read), .obstacle(.delete), .obstacle(.receipt), .obstacle(.commit)],
            trips("ROLLBACK").map { .request($0) },
            trips("refusal").map { .request($0) },
            [.request("worked")],
            trips("append").map { .request($0) },
            [.obstacle(.append), .obstacle(.entryCommit)],
            [.request("answering")],
            trips("settle").map { .doubt($0) },
            trips("release").map { .release($0) },
            trips("overdue").map { .recovery($0) },
            trips("recover").map { .recovery($0) },
            trips("erase_next").map { .recovery($0) },
            trips("purge").map { .recovery($0) },
            trips("audit_lag").map { .recovery($0) },
        ]
        return steps.flatMap { $0 }
    }()

    /// What every instance looks for in the background, where ScheduleCrashTests and LargeBulkCrashTests strike, and at its
    /// start.
    static let background: [Moment] = [
        "due_apps", "schedule_lag", "bulk_apps", "bulk_lag", "forget_samples", "foreign_code",
    ].flatMap { trips($0).map { .recovery($0) } }

    /// The moments of a trip.
    static func trips(_ function: String) -> [String] {
        ["before", "sent", "answered"].map { "\($0) \(function)" }
    }

    var name: String {
        switch self {
        case .request(let name), .doubt(let name), .release(let name), .recovery(let name): name
        case .obstacle(let obstacle): obstacle.rawValue
        }
    }

    /// Whether a deletion of such a customer comes to it at all.
    func exists(for target: Target) -> Bool {
        switch self {
        case .request("before ROLLBACK"), .request("sent ROLLBACK"), .request("answered ROLLBACK"),
            .request("before refusal"), .request("sent refusal"), .request("answered refusal"):
            target == .blocked
        case .obstacle(.read): target != .missing
        case .obstacle(.commit): target != .blocked
        default: true
        }
    }
}
