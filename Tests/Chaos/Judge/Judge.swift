/// Judges a history: everything that must hold, whatever was killed, cut or stalled meanwhile.
///
/// Pure: the same history always gets the same verdict, and nothing is asked of anybody.
package enum Judge {
    package struct Verdict: Sendable {
        package var violations: [Violation]
        /// How long a client that insisted had to wait for the true outcome.
        package var longestWait: Instant
        /// Customers whose operations were put into order.
        package var customers: Int
        /// The operations put into order.
        package var operations: Int
    }

    package static func verdict(on history: History) -> Verdict {
        let dossier = Dossier(history)
        let order = Order(dossier)
        let patience = Patience(dossier)
        let violations =
            lostDeletions(dossier) + order.violations + Accounting(dossier).violations
            + Idempotency(dossier).violations + TrailCheck(dossier).violations
            + Erasure(dossier, orders: order.found).violations + patience.violations
        return Verdict(
            violations: violations,
            longestWait: patience.longestWait,
            customers: order.found.count,
            operations: order.found.values.reduce(0) { $0 + $1.count }
        )
    }

    /// Customers that are gone without an entry that says who deleted them.
    private static func lostDeletions(_ dossier: Dossier) -> [Violation] {
        let history = dossier.history
        var known = Set(history.initial.keys)
        var deleted: Set<Subject> = []
        for call in history.calls {
            if case .create = call.request, call.answer?.status == 201,
                let record = call.answer.flatMap({ CustomerRecord(text: $0.body) })
            {
                known.insert(Subject(app: call.app, id: record.id))
            }
        }
        for entry in history.entries where entry.action == "customer.delete" && entry.outcome == "SUCCEEDED" {
            if let customer = entry.customer { deleted.insert(Subject(app: entry.app, id: customer)) }
        }
        return known.filter { history.remains[$0] == nil && !deleted.contains($0) }.map {
            Violation(.lostDeletion, "\($0) is gone")
        }
    }
}
