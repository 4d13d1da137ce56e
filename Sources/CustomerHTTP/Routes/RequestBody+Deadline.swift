import Customers
import HTTPTypes
import Hummingbird
import NIOCore

extension Request {
    /// Whether its own header says that the body has more bytes than that.
    func announcesBody(over limit: Int) -> Bool {
        headers[.contentLength].flatMap { Int($0) }.map { $0 > limit } ?? false
    }

    /// The whole body.
    ///
    /// - Parameter limit: bytes that are accepted.
    /// - Throws: `APIError.bodyTooLarge`, `requestTimeout` when it doesn't arrive by the deadline, or
    ///   `malformedRequest`.
    func wholeBody(upTo limit: Int, deadline: ContinuousClock.Instant) async throws(APIError) -> ByteBuffer {
        guard !announcesBody(over: limit) else { throw .bodyTooLarge(limit: limit) }
        // Without either there is no body (RFC 9112, section 6.3), and nothing to wait for.
        guard headers[.contentLength] != nil || headers[.transferEncoding] != nil else { return ByteBuffer() }
        let body = body
        do {
            return try await withThrowingTaskGroup(of: ByteBuffer?.self) { group in
                group.addTask { try await body.collect(upTo: limit) }
                group.addTask {
                    try await Task.sleep(until: deadline)
                    return nil
                }
                defer { group.cancelAll() }
                guard let first = try await group.next(), let collected = first else {
                    throw APIError.requestTimeout
                }
                return collected
            }
        } catch let error as APIError {
            throw error
        } catch is NIOTooManyBytesError {
            throw .bodyTooLarge(limit: limit)
        } catch {
            throw .malformedRequest
        }
    }
}
