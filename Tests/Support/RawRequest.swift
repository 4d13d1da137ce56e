/// A request as bytes, for tests that break it.
public struct RawRequest: Sendable {
    public var line: String
    /// Whole header lines.
    public var headers: [String]
    public var body: [UInt8]

    public init(line: String, headers: [String], body: [UInt8] = []) {
        self.line = line
        self.headers = headers
        self.body = body
    }

    /// What a well-behaved client would send.
    public init(_ call: HTTPCall) {
        let body = call.body.map { Array($0.utf8) } ?? []
        self.init(
            line: "\(call.method) \(call.path) HTTP/1.1",
            headers: ["Host: 127.0.0.1"] + call.headers.map { "\($0.name): \($0.value)" }
                + (body.isEmpty ? [] : ["Content-Length: \(body.count)"]),
            body: body
        )
    }

    public var bytes: [UInt8] {
        Array((([line] + headers).joined(separator: "\r\n") + "\r\n\r\n").utf8) + body
    }

    public var text: String { String(decoding: bytes, as: UTF8.self) }
}
