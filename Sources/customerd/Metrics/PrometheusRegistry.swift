import CoreMetrics
import NIOConcurrencyHelpers

/// A backend of swift-metrics that renders the Prometheus text format. No maintained library for it is available here.
///
/// Source: Prometheus documentation, "Exposition formats", text-based format 0.0.4.
final class PrometheusRegistry: MetricsFactory, Sendable {
    private let families = NIOLockedValueBox<[String: MetricFamily]>([:])

    /// All metrics; families and series are sorted by name.
    @Sendable func text() -> String {
        families.withLockedValue { families in
            families.sorted { $0.key < $1.key }.map { $0.value.text(name: $0.key) }.joined()
        }
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions, kind: .counter)
    }

    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, kind: .gauge)
    }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        series(label, dimensions, kind: aggregate ? .histogram : .gauge)
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, kind: .histogram)
    }

    private func series(_ label: String, _ dimensions: [(String, String)], kind: MetricFamily.Kind) -> MetricSeries {
        let name = String(label.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
        return families.withLockedValue { families in
            families[name, default: MetricFamily(kind: kind)].series(dimensions)
        }
    }

    // Series live as long as the process: a counter that disappears would look like a reset.
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyMeter(_ handler: any MeterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}
