public import Customers

/// The proxies whose `X-Forwarded-For` is believed.
public struct TrustedProxies: Sendable {
    private let addresses: AddressBlocks

    public init(_ addresses: AddressBlocks) {
        self.addresses = addresses
    }

    /// The client behind a peer: the right-most address of `X-Forwarded-For` that isn't a trusted proxy itself, and
    /// the peer when it isn't trusted. What stands further left may have been forged by the client.
    func client(peer: IPAddress, forwardedFor: [String]) -> IPAddress {
        var client = peer
        for hop in forwardedFor.flatMap({ $0.split(separator: ",") }).reversed() {
            guard addresses.contains(client), let address = IPAddress(hop) else { break }
            client = address
        }
        return client
    }
}
