import Foundation
import NIOConcurrencyHelpers
import TestSupport

/// A client of server-sent events, which keeps what has come.
final class EventStreamReader: Sendable {
    struct Message: Sendable, Hashable {
        var id: String?
        var event: String?
        var data: String?
    }

    private let text = NIOLockedValueBox("")
    private let ending = NIOLockedValueBox<Result<Int, any Error>?>(nil)
    private let task: Task<Void, Never>

    /// Begins to read. The reading goes on until the server ends it, or the reader is let go.
    init(_ tenant: Tenant, _ query: String = "", lastEventID: String? = nil) {
        let last = lastEventID.map { [(name: "last-event-id", value: $0)] } ?? []
        let call = HTTPCall(
            "GET", "/api/v0/events" + query, headers: tenant.key.headers + [("accept", "text/event-stream")] + last)
        let (text, ending, port) = (text, ending, tenant.service.port)
        task = Task {
            do {
                let status = try await call.stream(from: port) { piece in text.withLockedValue { $0 += piece } }
                ending.withLockedValue { $0 = .success(status) }
            } catch {
                ending.withLockedValue { $0 = .failure(error) }
            }
        }
    }

    deinit {
        task.cancel()
    }

    /// What has come, byte for byte.
    var received: String { text.withLockedValue { $0 } }

    /// Comments among it.
    var comments: Int { received.components(separatedBy: "\n\n").count { $0.hasPrefix(":") } }

    /// The status, once the server has ended the stream properly.
    var status: Int? { ending.withLockedValue { try? $0?.get() } }

    var messages: [Message] {
        received.components(separatedBy: "\n\n").dropLast().filter { !$0.hasPrefix(":") }.map { block in
            var message = Message()
            for line in block.split(separator: "\n") {
                let value = line.split(separator: ":", maxSplits: 1).last.map { String($0.dropFirst()) }
                switch line.prefix(while: { $0 != ":" }) {
                case "id": message.id = value
                case "event": message.event = value
                case "data": message.data = value
                default: break
                }
            }
            return message
        }
    }
}
