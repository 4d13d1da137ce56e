import NIOCore
import NIOHTTP1

/// Header values that aren't UTF-8, read as ISO-8859-1.
///
/// The decoder puts U+FFFD in the place of every byte that isn't UTF-8. So this stands before it, keeps the lines of a
/// head in which it is going to do that, and gives them back to ``ExchangeHandler``. A head that begins in the packet in
/// which the request before it ends isn't looked at.
///
/// Source: RFC 9110, section 5.5, on what such bytes used to be.
final class Latin1Headers: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private struct Line {
        /// As the decoder reads it.
        let lossy: String
        let latin1: String
    }

    private var lines: [Line] = []
    /// The beginning of a line whose end hasn't come.
    private var partial: [UInt8] = []
    private var isInHead = true
    /// Bytes of the head so far.
    private var length = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isInHead { read(unwrapInboundIn(data).readableBytesView) }
        context.fireChannelRead(data)
    }

    private func read(_ bytes: ByteBufferView) {
        length += bytes.count
        // The decoder refuses such a head, and nothing says when another one begins.
        guard length <= 2 * APIChannel.largestHeaders else { return end() }
        var rest = bytes[...]
        var isFirst = length == bytes.count
        while isInHead, let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            partial += rest[..<end]
            if partial.last == UInt8(ascii: "\r") { partial.removeLast() }
            // An empty line before the first one is ignored, as by the decoder (RFC 9112, section 2.2).
            if partial.isEmpty, !isFirst { isInHead = false }
            isFirst = isFirst && partial.isEmpty
            // Nearly all lines are ASCII.
            if partial.contains(where: { $0 >= 0x80 }), String(validating: partial, as: UTF8.self) == nil {
                let latin1 = String(String.UnicodeScalarView(partial.map { Unicode.Scalar($0) }))
                lines.append(Line(lossy: String(decoding: partial, as: UTF8.self), latin1: latin1))
            }
            partial.removeAll(keepingCapacity: true)
            rest = rest[(end + 1)...]
        }
        if isInHead { partial += rest }
    }

    /// Puts what the client wrote in the place of what the decoder couldn't read.
    func restore(_ headers: HTTPHeaders) -> HTTPHeaders {
        guard !lines.isEmpty else { return headers }
        return HTTPHeaders(
            headers.map { name, value in
                let line =
                    value.unicodeScalars.contains("\u{fffd}") ? lines.first { $0.lossy.isHeader(name, value) } : nil
                return (name, line?.latin1.headerValue ?? value)
            })
    }

    /// The request has ended: what comes next is a head.
    func requestEnded() {
        end()
        isInHead = true
    }

    private func end() {
        lines.removeAll()
        partial.removeAll()
        length = 0
        isInHead = false
    }
}

extension String {
    fileprivate var headerValue: String {
        guard let colon = utf8.firstIndex(of: UInt8(ascii: ":")) else { return self }
        return self[utf8.index(after: colon)...].withoutOuterBlanks
    }

    fileprivate func isHeader(_ name: String, _ value: String) -> Bool {
        utf8.prefix(while: { $0 != UInt8(ascii: ":") }).elementsEqual(name.utf8)
            && headerValue.utf8.elementsEqual(value.withoutOuterBlanks.utf8)
    }
}
