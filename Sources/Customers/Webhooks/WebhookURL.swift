/// Where a webhook's events are sent. Read strictly: what two programs could read differently isn't accepted.
///
/// Source: RFC 3986; RFC 9110, section 4.2.
struct WebhookURL: Sendable, Hashable {
    static let longest = 2048

    let isSecure: Bool
    /// A name, or an address without brackets.
    let host: String
    let port: Int
    /// Path and query, as they are sent.
    let target: String
    /// The host, if it is an address.
    let address: IPAddress?

    /// The header `Host`.
    var authority: String {
        let host = address?.bytes.count == 16 ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? host : "\(host):\(port)"
    }

    /// - Throws: a sentence that says what is wrong with it.
    init(_ text: String) throws(Invalidity) {
        guard (1...Self.longest).contains(text.utf8.count), text.utf8.allSatisfy(Self.isOfURL) else {
            throw .body("url must be 1 to \(Self.longest) characters of an absolute URL, others percent-encoded")
        }
        guard !text.contains("#") else { throw .body("url must not have a fragment") }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let scheme = parts[0].lowercased()
        guard parts.count == 2, scheme == "https" || scheme == "http", parts[1].hasPrefix("//") else {
            throw .body("url must begin with https://")
        }
        isSecure = scheme == "https"
        let rest = parts[1].dropFirst(2)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.contains("@") else { throw .body("url must not have a user name or password") }
        let target = rest.dropFirst(authority.count)
        self.target = target.hasPrefix("/") ? String(target) : "/" + target

        var host = authority[...]
        var port = ""
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { throw Self.malformedHost }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let after = authority[authority.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw Self.malformedHost }
            port = String(after.dropFirst())
            guard let address = IPAddress(literal: String(host)), host.contains(":") else { throw Self.malformedHost }
            self.address = address
        } else {
            let pieces = authority.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            host = pieces.first ?? ""
            port = pieces.count == 2 ? String(pieces[1]) : ""
            address = IPAddress(literal: String(host))
            guard address != nil || Self.isName(host) else { throw Self.malformedHost }
        }
        self.host = host.lowercased()
        guard let number = port.isEmpty ? (isSecure ? 443 : 80) : Int(port), (1...65_535).contains(number),
            port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { throw .body("url must have a port from 1 to 65535, or none") }
        self.port = number
    }

    private static let malformedHost = Invalidity.body("url must have a host name or an IP address")

    /// The characters of a URL, without those that only some programs accept.
    private static func isOfURL(_ byte: UInt8) -> Bool {
        (0x21...0x7e).contains(byte) && !"\"<>\\^`{|}".utf8.contains(byte)
    }

    /// Whether it is a name of the DNS. One whose last label is a number is an address to some resolvers.
    private static func isName(_ host: Substring) -> Bool {
        guard (1...253).contains(host.utf8.count) else { return false }
        var labels = host.split(separator: ".", omittingEmptySubsequences: false)
        if labels.count > 1, labels.last == "" { labels.removeLast() }
        let areLabels = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count)
                && label.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                        true
                    default: false
                    }
                }
        }
        guard areLabels, let last = labels.last?.lowercased() else { return false }
        return !last.hasPrefix("0x") && !last.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }
}

/// Which addresses webhooks may reach: public ones by https, and what the operator allows, by http as well.
public struct WebhookAddresses: Sendable {
    private let allowed: AddressBlocks

    /// - Parameter allowed: addresses that may be reached although they aren't public.
    public init(allowed: AddressBlocks) {
        self.allowed = allowed
    }

    /// - Throws: if a URL is refused whatever its name resolves to.
    func check(_ url: WebhookURL) throws(Invalidity) {
        guard url.isSecure || !allowed.isEmpty else { throw .body("url must begin with https://") }
        guard let address = url.address, !permits(address, isSecure: url.isSecure) else { return }
        throw .body(
            Self.isPublic(address) ? "url must begin with https://" : "url must have a public address")
    }

    func permits(_ address: IPAddress, isSecure: Bool) -> Bool {
        allowed.contains(address) || isSecure && Self.isPublic(address)
    }

    /// Not globally reachable, or not a host.
    ///
    /// Source: IANA IPv4 Special-Purpose Address Registry (RFC 6890); RFC 5771 (multicast), RFC 7526 (6to4 relays).
    private static let special4 = AddressBlocks(
        known: """
            0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
            192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24
            203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
            """)

    /// Global unicast, all that is allocated.
    ///
    /// Source: RFC 4291, section 2.4.
    private static let global6 = AddressBlocks(known: "2000::/3")

    /// Parts of it that aren't hosts of their own: protocol assignments with Teredo, documentation, 6to4, AS112.
    ///
    /// Source: IANA IPv6 Special-Purpose Address Registry.
    private static let special6 = AddressBlocks(
        known: "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20")

    /// An IPv4 address as a network with IPv6 alone reaches it (RFC 6052).
    private static let translated = AddressBlocks(known: "64:ff9b::/96")

    static func isPublic(_ address: IPAddress) -> Bool {
        if address.bytes.count == 4 { return !special4.contains(address) }
        if translated.contains(address) { return !special4.contains(IPAddress(bytes: Array(address.bytes.suffix(4)))) }
        return global6.contains(address) && !special6.contains(address)
    }
}
