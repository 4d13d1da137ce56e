import HTTPTypes
import Metrics
import NIOConcurrencyHelpers

/// How many requests there were of each kind, and how long they took.
final class RequestMetrics: Sendable {
    private struct Kind: Hashable {
        let method: HTTPRequest.Method
        let route: String
        let status: Int
    }

    private struct Series {
        let requests: Counter
        let duration: Metrics.Timer
    }

    private static let knownMethods: Set<HTTPRequest.Method> = [
        .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect,
    ]

    // Looking a series up in the registry means writing its labels out, which takes longer than the counting.
    private let series = NIOLockedValueBox<[Kind: Series]>([:])

    /// - Parameter route: the route's path, not the request's: no identifier of a person gets into a label.
    func record(_ method: HTTPRequest.Method, route: String, status: Int, _ elapsed: Duration) {
        let kind = Kind(method: Self.knownMethods.contains(method) ? method : .other, route: route, status: status)
        let series = series.withLockedValue { known in
            if let series = known[kind] { return series }
            let new = Self.series(kind)
            known[kind] = new
            return new
        }
        series.requests.increment()
        series.duration.record(duration: elapsed)
    }

    private static func series(_ kind: Kind) -> Series {
        let dimensions = [("method", kind.method.rawValue), ("route", kind.route), ("status", "\(kind.status)")]
        return Series(
            requests: Counter(label: "customerd_http_requests_total", dimensions: dimensions),
            duration: Metrics.Timer(
                label: "customerd_http_request_duration_seconds", dimensions: Array(dimensions.prefix(2))))
    }
}

extension HTTPRequest.Method {
    /// Stands for all methods that HTTP doesn't define, so that clients can't create series at will.
    fileprivate static let other = Self("other")!
}
