import Dispatch
import Metrics
import NIOConcurrencyHelpers

/// Writes the log to standard error from a thread of its own: logging never waits for the reader.
///
/// While the reader stands still, lines are buffered up to a limit. Further lines are dropped and counted; the log says how
/// many once it is read again.
final class LogWriter: Sendable {
    private struct Backlog {
        var text = ""
        var dropped = 0
        var isBeingWritten = false
    }

    /// Bytes that are buffered for the reader.
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

    /// Waits until all lines are written, at most a second.
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
                backlog.text += "\(backlog.dropped) log lines were dropped here because standard error was not read\n"
            }
            defer { backlog = Backlog(isBeingWritten: true) }
            return backlog.text
        }
    }
}
