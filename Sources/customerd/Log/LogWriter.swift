import Dispatch
import Metrics
import NIOConcurrencyHelpers

/// Writes the log to standard error from a thread of its own: whoever logs never waits for whoever reads.
///
/// When the reader stops, lines are held up to a limit; what comes then is dropped, counted, and told of in the log itself
/// once it is read again.
final class LogWriter: Sendable {
    private struct Backlog {
        var text = ""
        var dropped = 0
        var isBeingWritten = false
    }

    /// Bytes that wait for the reader.
    private static let limit = 1 << 20

    private let backlog = NIOLockedValueBox(Backlog())
    private let queue = DispatchQueue(label: "customerd.log")
    private let dropped = Counter(label: "customerd_log_lines_dropped_total")

    func write(_ line: String) {
        let (isDropped, mustStart) = backlog.withLockedValue { backlog in
            guard backlog.text.utf8.count < Self.limit else {
                backlog.dropped += 1
                return (true, false)
            }
            backlog.text += line
            backlog.text += "\n"
            defer { backlog.isBeingWritten = true }
            return (false, !backlog.isBeingWritten)
        }
        if isDropped { dropped.increment() }
        if mustStart { queue.async { self.writeBacklog() } }
    }

    /// Waits until all lines are written, but not for a reader that has stopped.
    func flush() {
        let isDone = DispatchSemaphore(value: 0)
        queue.async { isDone.signal() }
        _ = isDone.wait(timeout: .now() + .seconds(1))
    }

    private func writeBacklog() {
        while let text = takeBacklog() { StandardError.write(text) }
    }

    private func takeBacklog() -> String? {
        backlog.withLockedValue { backlog in
            guard !backlog.text.isEmpty else {
                backlog.isBeingWritten = false
                return nil
            }
            if backlog.dropped > 0 {
                backlog.text += "\(backlog.dropped) lines of the log were dropped here, since nobody read them\n"
            }
            defer { backlog = Backlog(isBeingWritten: true) }
            return backlog.text
        }
    }
}
