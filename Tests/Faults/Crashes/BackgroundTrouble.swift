import LibPQ
import TestSupport
import Testing

/// What goes wrong with an instance while it carries out what was asked for earlier: a scheduled deletion, or an item of a
/// large bulk deletion.
enum BackgroundTrouble: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case kill = "is killed, and starts again"
    case handover = "is killed beside another one"
    case clockBack = "is held up beside another one while the clock steps back by an hour"
    case clockAhead = "is held up beside another one while the clock steps ahead by an hour"

    var testDescription: String { rawValue }

    /// The steps of such work, in the order in which an instance comes to them.
    ///
    /// - Parameters:
    ///   - take: the function that takes what is to be done.
    ///   - end: the function that says what came of it.
    static func moments(from take: String, to end: String) -> [String] {
        [Moment.trips(take), Moment.trips("enter"), ["worked"], Moment.trips("append"), Moment.trips(end)].flatMap {
            $0
        }
    }

    /// Lets it happen to the instance of the stage that waits at a moment, and returns once another one, or the same
    /// after a start, has done the work. None is left under way.
    ///
    /// - Parameters:
    ///   - table: where the work of the tenant stands.
    ///   - finish: waits until the work is done, as the given tenant sees it.
    func strike(
        _ stage: Stage, at moment: String, _ tenant: Tenant, workingOn table: String,
        finish: (Tenant) async throws -> Void
    ) async throws {
        let other = self == .kill ? nil : try await stage.secondService()
        switch self {
        case .kill, .handover:
            await stage.service.kill()
            stage.failpoints.disarm()
            // The leases that it had are over.
            try await tenant.setClock(table, by: "1 hour")
            if other == nil { try await stage.restart() }
            try await finish(other.map { tenant.through($0) } ?? tenant)
            if other != nil { try await stage.restart() }
        case .clockBack, .clockAhead:
            try await tenant.setClock(table, by: self == .clockBack ? "-1 hour" : "1 hour")
            try await finish(tenant)
            // It comes late, with what it knew before.
            stage.failpoints.resume(moment)
            stage.service.terminate()
            #expect(await stage.service.exitStatus(within: .seconds(40)) == 0, "\(stage.service.log.suffix(2000))")
            try await stage.restart()
        }
        other?.terminate()
        _ = await other?.exitStatus(within: .seconds(40))
    }

    /// Walks through all moments, with a tenant each.
    ///
    /// - Parameter walk: begins the work, lets the trouble happen at the moment, and checks what came of it.
    func atEach(
        of moments: [String], on stage: Stage, walk: (_ moment: String, _ tenant: Tenant) async throws -> Void
    ) async {
        for moment in moments {
            do {
                try await walk(moment, try await stage.tenant())
            } catch {
                Issue.record(error, "\(moment)")
                return
            }
        }
    }
}

extension Tenant {
    /// Each of these customers is gone, no other is left, and each was deleted by one entry, which may follow.
    ///
    /// - Parameter moment: what to say when it isn't so.
    func expectDeletedOnce(_ customers: [String], _ moment: String = "") async throws {
        #expect(try await customerCount() == "0", "\(moment)")
        try await eventually("every deletion had its entry") {
            try await entries().count { $0["action"] == "customer.delete" && $0["outcome"] == "SUCCEEDED" }
                >= customers.count
        }
        let deletions = Dictionary(
            grouping: try await entries().filter { $0["action"] == "customer.delete" }, by: { $0["customer_id"] ?? "" })
        #expect(Set(deletions.keys) == Set(customers), "\(moment)")
        for (customer, entries) in deletions {
            let outcomes = entries.map { $0["outcome"] }
            let failed = entries.filter { $0["outcome"] == "FAILED" }.map { $0["status_code"] }
            #expect(failed.allSatisfy { $0 == "503" }, "\(moment), \(customer): \(failed)")
            #expect(outcomes.count { $0 == "SUCCEEDED" } == 1, "\(moment), \(customer): \(outcomes)")
            // FAILED: a busy machine let the time of a try pass.
            let passing = ["SUCCEEDED", "INTERRUPTED", "FAILED"]
            #expect(outcomes.allSatisfy { passing.contains($0 ?? "") }, "\(moment), \(customer): \(outcomes)")
        }
    }
}
