import CoreMetrics
import NIOConcurrencyHelpers

/// One series: a number, or for a histogram its buckets. Times are in seconds.
final class MetricSeries: CounterHandler, MeterHandler, RecorderHandler, TimerHandler {
    /// Upper bounds of the buckets, seconds: from a replay in memory to the request deadline.
    private static let bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private struct State {
        var value = 0.0
        var count: UInt64 = 0
        var buckets = [UInt64](repeating: 0, count: MetricSeries.bounds.count)
    }

    private let kind: MetricFamily.Kind
    private let state = NIOLockedValueBox(State())

    init(kind: MetricFamily.Kind) {
        self.kind = kind
    }

    func text(name: String, labels: String) -> String {
        let state = state.withLockedValue { $0 }
        let braced = labels.isEmpty ? "" : "{\(labels)}"
        guard kind == .histogram else { return "\(name)\(braced) \(state.value)\n" }
        let prefix = labels.isEmpty ? "" : labels + ","
        var lines = ""
        for (bound, count) in zip(Self.bounds, state.buckets) {
            lines += "\(name)_bucket{\(prefix)le=\"\(bound)\"} \(count)\n"
        }
        lines += "\(name)_bucket{\(prefix)le=\"+Inf\"} \(state.count)\n"
        return lines + "\(name)_sum\(braced) \(state.value)\n\(name)_count\(braced) \(state.count)\n"
    }

    func increment(by amount: Int64) {
        state.withLockedValue { $0.value += Double(amount) }
    }

    func increment(by amount: Double) {
        state.withLockedValue { $0.value += amount }
    }

    func decrement(by amount: Double) {
        state.withLockedValue { $0.value -= amount }
    }

    func reset() {
        state.withLockedValue { $0 = State() }
    }

    func set(_ value: Int64) {
        set(Double(value))
    }

    func set(_ value: Double) {
        state.withLockedValue { $0.value = value }
    }

    func record(_ value: Int64) {
        record(Double(value))
    }

    func record(_ value: Double) {
        guard kind == .histogram else { return set(value) }
        state.withLockedValue { state in
            state.value += value
            state.count += 1
            for (index, bound) in Self.bounds.enumerated() where value <= bound {
                state.buckets[index] += 1
            }
        }
    }

    func recordNanoseconds(_ duration: Int64) {
        record(Double(duration) / 1_000_000_000)
    }
}
