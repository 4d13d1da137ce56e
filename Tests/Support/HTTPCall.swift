import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOSSL

/// A request of a well-behaved client. For others there is ``RawConnection``.
public struct HTTPCall: Sendable {
    public var method: String
    /// Path and query.
    public var path: String
    /// A name given twice is sent as two lines.
    public var headers: [(name: String, value: String)]
    public var body: String?
    /// Whether to open a connection that no other request uses.
    public var isFresh: Bool

    public init(
        _ method: String, _ path: String, headers: [(name: String, value: String)] = [], body: String? = nil,
        fresh: Bool = false
    ) {
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.isFresh = fresh
    }

    private static let client = client(retriesConnecting: true)
    private static let impatientClient = client(retriesConnecting: false)

    private static func client(retriesConnecting: Bool) -> HTTPClient {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(10), read: .seconds(60)),
            connectionPool: .init(idleTimeout: .seconds(10), concurrentHTTP1ConnectionsPerHostSoftLimit: 200)
        )
        configuration.httpVersion = .http1Only
        configuration.connectionPool.retryConnectionEstablishment = retriesConnecting
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// - Parameter retriesConnecting: whether to wait some seconds for a listener.
    /// - Throws: what the client throws when there was no answer.
    public func send(
        to port: Int, within limit: Duration = .seconds(60), retriesConnecting: Bool = true
    ) async throws -> HTTPAnswer {
        let client = retriesConnecting ? Self.client : Self.impatientClient
        return try await send(to: "http://127.0.0.1:\(port)", by: client, within: limit)
    }

    /// Sends, and takes the body of the answer piece by piece.
    ///
    /// - Returns: the status.
    public func stream(from port: Int, _ take: (String) -> Void) async throws -> Int {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = HTTPMethod(rawValue: method)
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        let response = try await Self.client.execute(request, deadline: .now() + .minutes(5))
        for try await piece in response.body { take(String(buffer: piece)) }
        return Int(response.status.code)
    }

    /// Sends over TLS, over a connection of its own, to a server with this certificate.
    ///
    /// - Throws: what the client throws when there was no answer.
    public func send(to port: Int, trusting certificate: SelfSignedCertificate) async throws -> HTTPAnswer {
        var configuration = HTTPClient.Configuration()
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.trustRoots = .file(certificate.certificate)
        configuration.tlsConfiguration = tls
        // A server with another certificate has it the next time, too.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            let answer = try await send(to: "https://127.0.0.1:\(port)", by: client, within: .seconds(20))
            try await client.shutdown()
            return answer
        } catch {
            try await client.shutdown()
            throw error
        }
    }

    private func send(to base: String, by client: HTTPClient, within limit: Duration) async throws -> HTTPAnswer {
        var request = HTTPClientRequest(url: base + path)
        request.method = HTTPMethod(rawValue: method)
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        if isFresh { request.headers.add(name: "connection", value: "close") }
        if let body { request.body = .bytes(ByteBuffer(string: body)) }
        let nanoseconds = Int64(limit.components.seconds) * 1_000_000_000 + limit.components.attoseconds / 1_000_000_000
        let response = try await client.execute(request, deadline: .now() + .nanoseconds(nanoseconds))
        return HTTPAnswer(
            status: Int(response.status.code),
            headers: response.headers.map { .init(name: $0.name, value: $0.value) },
            body: String(buffer: try await response.body.collect(upTo: 8 << 20))
        )
    }
}
