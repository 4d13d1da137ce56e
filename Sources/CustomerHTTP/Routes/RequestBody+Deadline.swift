import Customers
import HTTPTypes
import Hummingbird
import NIOCore

extension Request {
    /// Bytes of a body that are accepted.
    static let largestBody = 64 * 1024

    /// Whether its own header says that the body is too large.
    var announcesTooLargeBody: Bool {
        headers[.contentLength].flatMap { Int($0) }.map { $0 > Self.largestBody } ?? false
    }

    /// The whole body.
    ///
    /// - Throws: `APIError.bodyTooLarge`, `requestTimeout` when it doesn't arrive by the deadline, or
    ///   `malformedRequest`.
    func wholeBody(deadline: ContinuousClock.Instant) async throws(APIError) -> ByteBuffer {
        guard !announcesTooLargeBody else { throw .bodyTooLarge }
        // Without either there is no body (RFC 9112, section 6.3), and nothing to wait for.
        guard headers[.contentLength] != nil || headers[.transferEncoding] != nil else { return ByteBuffer() }
        let body = body
        do {
            return try await withThrowingTaskGroup(of: ByteBuffer?.self) { group in
                group.addTask { try await body.collect(upTo: Self.largestBody) }
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
            throw .bodyTooLarge
        } catch {
            throw .malformedRequest
        }
    }
}
