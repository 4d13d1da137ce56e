import Customers
import HTTPTypes
import NIOCore
import NIOHTTP1

/// The head of a request, read as RFC 9110 and 9112 ask: what the decoder leaves open is decided here, once, so that
/// nothing behind it and no proxy before it takes the request for another one.
struct StrictHead {
    /// With the target as a path and query, one `Host`, and `Connection: close` exactly if the connection ends.
    let head: HTTPRequestHead
    /// Whether another request may follow on the connection.
    let isPersistent: Bool
    /// Whether the client waits for `100 Continue` before it sends the body.
    let expectsContinue: Bool

    /// - Throws: what is wrong with it, to be answered with 400 or 417.
    init(_ head: HTTPRequestHead) throws(APIError) {
        let isOld = head.version == .http1_0
        guard isOld || head.version == .http1_1 else { throw .refused("HTTP version must be 1.0 or 1.1") }
        var strict = head
        try Self.checkFraming(head.headers, isOld: isOld)
        let host = try Self.host(head.headers, isOld: isOld)
        let target = try Target(head.uri, of: head.method)
        strict.uri = target.pathAndQuery
        // The authority of an absolute target counts, not the header (RFC 9112, section 3.2.2).
        if let authority = target.authority ?? host { strict.headers.replaceOrAdd(name: "host", value: authority) }

        let options = Self.list(head.headers["connection"])
        // The decoder reads no further than a request to change the protocol, which is answered as any other.
        let changesProtocol = options.contains("upgrade") && head.headers.contains(name: "upgrade")
        isPersistent =
            !options.contains("close") && !changesProtocol && (!isOld || options.contains("keep-alive"))
        strict.headers.remove(name: "connection")
        if !isPersistent { strict.headers.add(name: "connection", value: "close") }

        let expectations = Self.list(head.headers["expect"])
        guard isOld || expectations.allSatisfy({ $0 == "100-continue" }) else { throw .expectationFailed }
        let hasBody = head.headers.contains(name: "transfer-encoding") || Self.length(head.headers) ?? 0 > 0
        expectsContinue = !isOld && !expectations.isEmpty && hasBody
        self.head = strict
    }

    /// Where the body ends must be beyond doubt (RFC 9112, sections 6.1 and 6.3).
    private static func checkFraming(_ headers: HTTPHeaders, isOld: Bool) throws(APIError) {
        let (codings, lengths) = (headers["transfer-encoding"], headers["content-length"])
        guard codings.isEmpty || !isOld else { throw .refused("HTTP/1.0 has no Transfer-Encoding") }
        guard codings.isEmpty || lengths.isEmpty else {
            throw .refused("Content-Length and Transfer-Encoding exclude each other")
        }
        guard codings.isEmpty || list(codings) == ["chunked"] else {
            throw .refused("Transfer-Encoding must be chunked")
        }
        guard lengths.isEmpty || length(headers) != nil else { throw .refused("Content-Length must be one number") }
    }

    private static func length(_ headers: HTTPHeaders) -> Int? {
        let lengths = headers["content-length"].map(\.withoutOuterBlanks)
        guard lengths.count == 1, lengths[0].utf8.allSatisfy(\.isDigit) else { return nil }
        return Int(lengths[0])
    }

    /// Source: RFC 9112, section 3.2.
    private static func host(_ headers: HTTPHeaders, isOld: Bool) throws(APIError) -> String? {
        let hosts = headers["host"].map(\.withoutOuterBlanks)
        if hosts.isEmpty, isOld { return nil }
        guard hosts.count == 1 else { throw .refused("Host must be given exactly once") }
        guard Authority.isValid(hosts[0]) else { throw .refused("Host must be a host name or address, and a port") }
        return hosts[0]
    }

    /// The elements of a list, in lower case. Source: RFC 9110, section 5.6.1.
    private static func list(_ values: [String]) -> [String] {
        values.flatMap { $0.split(separator: ",") }.map { $0.withoutOuterBlanks.lowercased() }.filter { !$0.isEmpty }
    }
}

/// What a request is for. Source: RFC 9112, section 3.2.
private struct Target {
    let pathAndQuery: String
    /// Of a target in absolute form.
    let authority: String?

    init(_ text: String, of method: HTTPMethod) throws(APIError) {
        guard text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "#") }) else {
            throw .refused("The request target must be a path of visible ASCII characters without a fragment")
        }
        if text.hasPrefix("/") || text == "*" && method == .OPTIONS {
            (pathAndQuery, authority) = (text, nil)
            return
        }
        let scheme = ["http://", "https://"].first { text.prefix($0.utf8.count).lowercased() == $0 }
        guard method != .CONNECT, let scheme else { throw .refused("The request target must be a path") }
        let rest = text.dropFirst(scheme.utf8.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard Authority.isValid(authority) else { throw .refused("The request target must name a host") }
        let path = rest.dropFirst(authority.count)
        (pathAndQuery, self.authority) = ((path.hasPrefix("/") ? "" : "/") + path, String(authority))
    }
}

/// A host and perhaps a port. Source: RFC 3986, section 3.2, without user information and IPvFuture.
private enum Authority {
    static func isValid(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        let end = bytes.first == UInt8(ascii: "[") ? bytes.firstIndex(of: UInt8(ascii: "]")).map { $0 + 1 } : nil
        let host = bytes[..<(end ?? bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex)]
        let port = bytes[host.endIndex...]
        return isHost(host) && isPort(port)
    }

    private static func isHost(_ host: ArraySlice<UInt8>) -> Bool {
        if host.first == UInt8(ascii: "[") {
            guard host.last == UInt8(ascii: "]") else { return false }
            let literal = String(decoding: host.dropFirst().dropLast(), as: UTF8.self)
            return literal.contains(":") && !literal.contains("%") && IPAddress(literal: literal) != nil
        }
        let isMadeOfAllowed = host.allSatisfy { $0.isOfHostName || $0 == UInt8(ascii: "%") }
        return !host.isEmpty && isMadeOfAllowed && String(decoding: host, as: UTF8.self).percentDecoded != nil
    }

    /// Nothing, or a colon and a number; the number may be missing.
    private static func isPort(_ port: ArraySlice<UInt8>) -> Bool {
        guard let colon = port.first else { return true }
        let digits = port.dropFirst()
        guard colon == UInt8(ascii: ":"), digits.count <= 5, digits.allSatisfy(\.isDigit) else { return false }
        return digits.isEmpty || Int(String(decoding: digits, as: UTF8.self)).map { $0 <= 65_535 } ?? false
    }
}

extension StringProtocol {
    /// Without blanks and tabs at both ends. Source: RFC 9110, section 5.6.3, OWS.
    fileprivate var withoutOuterBlanks: String {
        let bytes = Array(utf8).drop { $0 == 0x20 || $0 == 0x09 }
        let last = bytes.lastIndex { $0 != 0x20 && $0 != 0x09 }
        return String(decoding: bytes[..<(last.map { $0 + 1 } ?? bytes.startIndex)], as: UTF8.self)
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self)
    }

    /// Unreserved characters and sub-delimiters.
    fileprivate var isOfHostName: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: isDigit || "-._~!$&'()*+,;=".utf8.contains(self)
        }
    }
}

extension APIError {
    fileprivate static func refused(_ sentence: String) -> APIError {
        .invalid(.request(sentence))
    }
}
