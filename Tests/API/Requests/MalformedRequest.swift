import LibPQ
import TestSupport

/// A request that no client may send, and what has to become of it.
struct MalformedRequest: Sendable {
    enum Fate: Sendable, Equatable {
        /// A 4xx in the form of every error, and so many entries.
        case refused(entries: Int)
        /// A 4xx in the form of every error; recorded or not, as it was understood.
        case refusedSomehow
        /// The same, or the connection is closed because there is no request to answer.
        case refusedOrClosed
    }

    var name: String
    var bytes: [UInt8]
    var requestID: String
    var status: Int?
    var fate: Fate
    /// Whether the client says that nothing more will come.
    var isFinished = false

    /// - Parameters:
    ///   - count: as many, of every kind equally often.
    ///   - tenant: whose good credentials they carry.
    static func generate(count: Int, seed: UInt64, tenant: Tenant) -> [MalformedRequest] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { index in
            let kind = kinds[index % kinds.count]
            let requestID = "malformed-\(index)"
            var request = RawRequest(tenant.deletion(of: newID(), headers: [("x-request-id", requestID)]))
            var malformed = MalformedRequest(
                name: kind.name, bytes: [], requestID: requestID, status: kind.status, fate: kind.fate)
            if let bytes = kind.make(&request, &generator) {
                malformed.bytes = bytes
            } else {
                malformed.bytes = request.bytes
            }
            malformed.isFinished = kind.isFinished
            return malformed
        }
    }

    private struct Kind: Sendable {
        var name: String
        var status: Int?
        var fate: Fate
        var isFinished = false
        /// Breaks a good request, or returns bytes instead of it.
        var make: @Sendable (inout RawRequest, inout SeededGenerator) -> [UInt8]?

        init(
            _ name: String, _ fate: Fate, status: Int? = nil, finished: Bool = false,
            _ make: @escaping @Sendable (inout RawRequest, inout SeededGenerator) -> [UInt8]?
        ) {
            self.name = name
            self.status = status
            self.fate = fate
            self.isFinished = finished
            self.make = make
        }

        /// A kind that changes the good request.
        static func changing(
            _ name: String, _ fate: Fate, status: Int? = nil,
            _ change: @escaping @Sendable (inout RawRequest, inout SeededGenerator) -> Void
        ) -> Kind {
            Kind(name, fate, status: status) { request, generator in
                change(&request, &generator)
                return nil
            }
        }
    }

    private static let printable = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$'()*,:@"
    private static let hex = "0123456789abcdef"

    private static let kinds: [Kind] = ids + headers + sizes + lines + framing + noHTTP

    // MARK: - What is a request, with nonsense in it

    private static let ids: [Kind] = [
        .changing("random id", .refused(entries: 1), status: 400) { request, generator in
            request.line = "DELETE /api/v0/customers/\(generator.text(1...80, of: printable)) HTTP/1.1"
        },
        .changing("percent-encoded bytes as id", .refused(entries: 1), status: 400) { request, generator in
            let id = generator.bytes(1...20).filter { $0 != 0x2F }.map { byte in
                "%" + String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
            }.joined()
            request.line = "DELETE /api/v0/customers/%80\(id) HTTP/1.1"
        },
        .changing("half a percent-encoding", .refusedSomehow) { request, generator in
            let end = ["%", "%4", "%zz", "%%", "%u0041"].randomElement(using: &generator) ?? "%"
            request.line = "DELETE /api/v0/customers/\(newID())\(end) HTTP/1.1"
        },
        .changing("encoded slashes", .refused(entries: 0), status: 404) { request, generator in
            request.line = "DELETE /api/v0/customers%2F\(newID()) HTTP/1.1"
        },
        Kind("raw bytes as id", .refused(entries: 0), status: 400) { request, generator in
            let line =
                Array("DELETE /api/v0/customers/".utf8) + generator.bytes(1...30, in: 0x80...0xFF)
                + Array(" HTTP/1.1".utf8)
            request.line = ""
            return line + request.bytes
        },
        .changing("doubled slashes", .refused(entries: 0), status: 404) { request, generator in
            request.line = "DELETE //api//v0///customers//\(newID()) HTTP/1.1"
        },
        .changing("dots and semicolons", .refused(entries: 0), status: 404) { request, generator in
            let path = [
                "/api/v0/customers/../customers/x", "/api/v0/./customers/x", "/api/v0/customers/x;a=b/y", "/..;/x",
            ]
            request.line = "DELETE \(path.randomElement(using: &generator) ?? "/") HTTP/1.1"
        },
        .changing("a path of 20,000 characters", .refusedOrClosed) { request, generator in
            request.line = "DELETE /api/v0/customers/\(generator.text(20_000...20_000, of: printable)) HTTP/1.1"
        },
    ]

    private static let headers: [Kind] = [
        .changing("random idempotency-key", .refused(entries: 1), status: 400) { request, generator in
            request.headers.removeAll { $0.hasPrefix("idempotency-key") }
            request.headers.append("idempotency-key: \(generator.text(1...60, of: printable))")
        },
        .changing("idempotency-key twice", .refused(entries: 1), status: 400) { request, generator in
            request.headers.append("Idempotency-Key: \(newID())")
        },
        .changing("x-client-secret twice", .refused(entries: 1), status: 401) { request, generator in
            let secret = request.headers.first { $0.hasPrefix("x-client-secret") } ?? ""
            request.headers.append(secret.replacing("x-client-secret", with: "X-CLIENT-SECRET"))
        },
        .changing("an actor that is too long", .refused(entries: 1), status: 400) { request, generator in
            request.headers.append("x-actor-id: \(generator.text(201...3000, of: printable))")
        },
        Kind("bytes that aren't UTF-8 in the actor", .refusedSomehow) { request, generator in
            breaking(request, header: "x-actor-id", generator.bytes(1...100, in: 0x80...0xFF))
        },
        Kind("bytes that aren't UTF-8 in the reason and too many", .refusedSomehow) { request, generator in
            breaking(request, header: "x-audit-reason", generator.bytes(600...900, in: 0x80...0xFF))
        },
        Kind("bytes that aren't UTF-8 in the idempotency-key", .refusedSomehow, status: 400) { request, generator in
            request.headers.removeAll { $0.hasPrefix("idempotency-key") }
            return breaking(request, header: "idempotency-key", generator.bytes(1...36, in: 0x80...0xFF))
        },
        Kind("bytes that aren't UTF-8 in the client's key", .refusedSomehow, status: 401) { request, generator in
            request.headers.removeAll { $0.hasPrefix("x-client-key") }
            return breaking(request, header: "x-client-key", generator.bytes(1...36, in: 0x80...0xFF))
        },
        Kind("a NUL in a header", .refusedOrClosed) { request, generator in
            breaking(request, header: "x-audit-reason", Array("a".utf8) + [0] + Array("b".utf8))
        },
        Kind("control characters in a header", .refusedOrClosed) { request, generator in
            breaking(request, header: "x-actor-id", [UInt8.random(in: 1...8, using: &generator), 0x7F])
        },
        .changing("a header without a colon", .refusedOrClosed) { request, generator in
            request.headers.append(generator.text(1...20, of: "abc"))
        },
        .changing("a blank before the colon", .refusedOrClosed) { request, generator in
            request.headers.append("x-actor-id : me")
        },
        .changing("a folded header", .refusedOrClosed) { request, generator in
            request.headers.append("x-actor-id: me\r\n and you")
        },
        .changing("a header without a name", .refusedOrClosed) { request, generator in
            request.headers.append(": value")
        },
        .changing("no host", .refused(entries: 0), status: 400) { request, generator in
            request.headers.removeAll { $0.hasPrefix("Host") }
        },
        .changing("two hosts", .refused(entries: 0), status: 400) { request, generator in
            request.headers.append("Host: other.example")
        },
    ]

    // MARK: - Too much

    private static let sizes: [Kind] = [
        .changing("a body that is one byte over", .refused(entries: 0), status: 413) { request, generator in
            request.body = generator.bytes(65_537...65_537)
            request.headers.append("Content-Length: 65537")
        },
        Kind("a body of gigabytes that doesn't come", .refused(entries: 0), status: 413) { request, generator in
            request.headers.append("Content-Length: 4294967296")
            return nil
        },
        .changing("chunks that are over together", .refused(entries: 0), status: 413) { request, generator in
            request.headers.append("Transfer-Encoding: chunked")
            let chunk = Array("4000\r\n".utf8) + generator.bytes(0x4000...0x4000) + [13, 10]
            request.body = Array(repeatElement(chunk, count: 5).joined()) + Array("0\r\n\r\n".utf8)
        },
        .changing("one header that is too large", .refused(entries: 0), status: 431) { request, generator in
            request.headers.append("x-audit-reason: \(generator.text(40_000...80_000, of: printable))")
        },
        .changing("many headers that are too large together", .refused(entries: 0), status: 431) { request, generator in
            for index in 0..<100 { request.headers.append("x-\(index): \(generator.text(800...800, of: printable))") }
        },
        .changing("too many headers", .refusedSomehow) { request, generator in
            for index in 0..<1000 { request.headers.append("x-\(index): 1") }
        },
        .changing("a header name that is too large", .refused(entries: 0), status: 431) { request, generator in
            request.headers.append("\(generator.text(40_000...40_000, of: "abc")): 1")
        },
    ]

    // MARK: - The request line

    private static let lines: [Kind] = [
        .changing("an unknown method", .refusedOrClosed) { request, generator in
            request.line = "\(generator.text(1...20, of: "ABCDEFGHIJKLM")) /api/v0/customers/\(newID()) HTTP/1.1"
        },
        .changing("a method in lower case", .refusedOrClosed) { request, generator in
            request.line = "delete /api/v0/customers/\(newID()) HTTP/1.1"
        },
        .changing("a wrong method", .refused(entries: 0), status: 405) { request, generator in
            let method = ["PUT", "OPTIONS", "TRACE", "PROPFIND", "LOCK"].randomElement(using: &generator) ?? "PUT"
            request.line = "\(method) /api/v0/customers/\(newID()) HTTP/1.1"
        },
        .changing("an unknown version", .refusedOrClosed) { request, generator in
            let version = [
                "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/1.7", "HTTP/11", "HTTX/1.1", "http/1.1", "",
            ]
            request.line = "DELETE /api/v0/customers/\(newID()) \(version.randomElement(using: &generator) ?? "")"
        },
        .changing("a blank too many", .refusedOrClosed) { request, generator in
            request.line = "DELETE /api/v0/customers/ \(newID()) HTTP/1.1"
        },
        .changing("an absolute target", .refusedSomehow) { request, generator in
            request.line = "DELETE http://other.example/api/v0/customers/\(newID()) HTTP/1.1"
        },
        .changing("a target that is no path", .refusedOrClosed) { request, generator in
            request.line =
                ["OPTIONS * HTTP/1.1", "CONNECT a.example:443 HTTP/1.1", "DELETE api/v0 HTTP/1.1"]
                .randomElement(using: &generator) ?? ""
        },
        Kind("a control character in the target", .refusedOrClosed) { request, generator in
            let line = Array("DELETE /api/v0/customers/x".utf8) + [UInt8.random(in: 0...8, using: &generator)]
            request.line = " HTTP/1.1"
            return line + request.bytes
        },
    ]

    // MARK: - Where it ends

    private static let framing: [Kind] = [
        .changing("a length that is none", .refusedOrClosed) { request, generator in
            let length = ["-1", "abc", "1e3", "99999999999999999999999999", "+5", "0x10", "5, 6"]
            request.headers.append("Content-Length: \(length.randomElement(using: &generator) ?? "-1")")
        },
        .changing("two lengths", .refusedOrClosed) { request, generator in
            request.headers += ["Content-Length: 5", "Content-Length: 6"]
            request.body = Array("abcdef".utf8)
        },
        .changing("a length beside chunks", .refusedOrClosed) { request, generator in
            request.headers += ["Content-Length: 6", "Transfer-Encoding: chunked"]
            request.body = Array("0\r\n\r\nX".utf8)
        },
        .changing("an unknown transfer coding", .refusedOrClosed) { request, generator in
            request.headers.append("Transfer-Encoding: \(generator.text(3...8, of: "abcxyz"))")
            request.body = Array("0\r\n\r\n".utf8)
        },
        .changing("a chunk whose size is none", .refusedOrClosed) { request, generator in
            request.headers.append("Transfer-Encoding: chunked")
            request.body = Array("\(generator.text(1...8, of: "ghijk"))\r\nabc\r\n0\r\n\r\n".utf8)
        },
        Kind("half a request", .refusedOrClosed, finished: true) { request, generator in
            Array(request.bytes.prefix(Int.random(in: 1..<request.bytes.count - 2, using: &generator)))
        },
        Kind("half a body", .refusedOrClosed, finished: true) { request, generator in
            request.headers.append("Content-Length: 100")
            return request.bytes + generator.bytes(1...99)
        },
    ]

    // MARK: - What isn't HTTP at all

    private static let noHTTP: [Kind] = [
        Kind("random bytes", .refusedOrClosed, finished: true) { _, generator in generator.bytes(1...4000) },
        Kind("a TLS greeting", .refusedOrClosed, finished: true) { _, generator in
            [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03] + generator.bytes(500...500)
        },
        Kind("the preface of HTTP/2", .refusedOrClosed, finished: true) { _, _ in
            Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
        },
        Kind("line ends alone", .refusedOrClosed, finished: true) { _, generator in
            Array(String(repeating: ["\r\n", "\n", "\r"].randomElement(using: &generator) ?? "\n", count: 50).utf8)
        },
    ]

    private static func breaking(_ request: RawRequest, header: String, _ value: [UInt8]) -> [UInt8] {
        var request = request
        let line = request.line
        request.line = ""
        return Array("\(line)\r\n\(header): ".utf8) + value + request.bytes
    }
}
