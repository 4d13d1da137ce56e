import Customers

/// The proxies whose `X-Forwarded-For` is believed.
public struct TrustedProxies: Sendable {
    private struct Network: Sendable {
        let address: IPAddress
        let length: Int

        func contains(_ other: IPAddress) -> Bool {
            guard other.bytes.count == address.bytes.count else { return false }
            return (0..<length).allSatisfy { bit in
                let mask = UInt8(0x80) >> (bit % 8)
                return address.bytes[bit / 8] & mask == other.bytes[bit / 8] & mask
            }
        }
    }

    /// A part of the list that is neither an address nor a CIDR block.
    public struct InvalidBlock: Error, Sendable {
        public let text: String
    }

    private let networks: [Network]

    /// - Parameter list: addresses and CIDR blocks (RFC 4632), separated by commas or white space.
    /// - Throws: the first part that is neither.
    public init(_ list: String) throws(InvalidBlock) {
        var networks: [Network] = []
        for block in list.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
            let parts = block.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let address = IPAddress(parts[0]) else { throw InvalidBlock(text: String(block)) }
            let bits = address.bytes.count * 8
            let length = parts.count == 2 ? Int(parts[1]) ?? -1 : bits
            guard (0...bits).contains(length) else { throw InvalidBlock(text: String(block)) }
            networks.append(Network(address: address, length: length))
        }
        self.networks = networks
    }

    /// The client behind a peer: the right-most address of `X-Forwarded-For` that isn't a trusted proxy itself, and
    /// the peer when it isn't trusted. What stands further left may have been forged by the client.
    func client(peer: IPAddress, forwardedFor: [String]) -> IPAddress {
        var client = peer
        for hop in forwardedFor.flatMap({ $0.split(separator: ",") }).reversed() {
            guard isTrusted(client), let address = IPAddress(hop) else { break }
            client = address
        }
        return client
    }

    private func isTrusted(_ address: IPAddress) -> Bool {
        networks.contains { $0.contains(address) }
    }
}
