import ChaosJudge
import NIOConcurrencyHelpers

/// The history, while it is made.
final class Recorder: Sendable {
    private struct State {
        var calls: [Call] = []
        var invoices: [InvoiceChange] = []
        var lastNumber = 0
    }

    private let start = ContinuousClock.now
    private let state = NIOLockedValueBox(State())

    /// Nanoseconds since the run began.
    var now: Instant {
        let elapsed = (ContinuousClock.now - start).components
        return elapsed.seconds * 1_000_000_000 + elapsed.attoseconds / 1_000_000_000
    }

    /// A number that nothing else has: of a call, or of a client's insisting.
    func number() -> Int {
        state.withLockedValue { state in
            state.lastNumber += 1
            return state.lastNumber
        }
    }

    func note(_ call: Call) {
        state.withLockedValue { $0.calls.append(call) }
    }

    func note(_ change: InvoiceChange) {
        state.withLockedValue { $0.invoices.append(change) }
    }

    /// What has been noted.
    var history: History {
        state.withLockedValue { state in
            var history = History()
            history.calls = state.calls.sorted { $0.invoked < $1.invoked }
            history.invoices = state.invoices.sorted { $0.invoked < $1.invoked }
            return history
        }
    }
}
