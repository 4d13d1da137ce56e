import Customers
import Testing

@testable import CustomerHTTP

@Suite("Addresses")
struct IPAddressTests {
    @Test(
        "is read as proxies and sockets write it, and written canonically",
        arguments: [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1\t", "192.0.2.1"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
            ("::", "::"),
        ]
    )
    func forms(text: String, canonical: String) {
        #expect(IPAddress(text)?.text == canonical)
    }

    @Test(
        "anything else is none",
        arguments: [
            "", " ", "unknown", "_hidden", "192.0.2", "192.0.2.256", "192.0.2.01", "[2001:db8::1", "1:2:3", "::1::",
        ]
    )
    func others(text: String) {
        #expect(IPAddress(text) == nil)
    }
}

@Suite("Trusted proxies")
struct TrustedProxiesTests {
    private func client(_ peer: String, _ forwardedFor: [String], trusting list: String) throws -> String {
        let proxies = TrustedProxies(try AddressBlocks(list))
        return proxies.client(peer: try #require(IPAddress(peer)), forwardedFor: forwardedFor).text
    }

    @Test("no proxy is believed unless it is trusted")
    func untrusted() throws {
        #expect(try client("192.0.2.1", ["198.51.100.7"], trusting: "") == "192.0.2.1")
        #expect(try client("192.0.2.1", ["198.51.100.7"], trusting: "10.0.0.0/8") == "192.0.2.1")
    }

    @Test("a trusted proxy names the client")
    func one() throws {
        #expect(try client("10.1.2.3", ["198.51.100.7"], trusting: "10.0.0.0/8") == "198.51.100.7")
        #expect(try client("10.1.2.3", [], trusting: "10.0.0.0/8") == "10.1.2.3")
    }

    @Test("what stands left of the first address that isn't trusted may be forged")
    func forged() throws {
        let hops = ["203.0.113.9, 198.51.100.7", "10.9.9.9"]

        #expect(try client("10.1.2.3", hops, trusting: "10.0.0.0/8") == "198.51.100.7")
    }

    @Test("a hop that is no address ends the search")
    func unreadable() throws {
        #expect(try client("10.1.2.3", ["198.51.100.7, unknown, 10.9.9.9"], trusting: "10.0.0.0/8") == "10.9.9.9")
    }

    @Test(
        "a block ends at its last bit",
        arguments: [
            ("10.127.255.255", "10.0.0.0/9", true), ("10.128.0.0", "10.0.0.0/9", false),
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.2", "192.0.2.1", false),
            ("203.0.113.1", "0.0.0.0/0", true), ("2001:db8::1", "0.0.0.0/0", false),
            ("2001:db8:0:1::", "2001:db8::/47", true), ("2001:db8:2::", "2001:db8::/47", false),
            ("::ffff:10.0.0.1", "10.0.0.0/8", true),
        ]
    )
    func blocks(peer: String, list: String, isTrusted: Bool) throws {
        let expected = isTrusted ? "198.51.100.7" : try #require(IPAddress(peer)).text

        #expect(try client(peer, ["198.51.100.7"], trusting: list) == expected)
    }

    @Test("commas and blanks separate the blocks")
    func list() throws {
        for peer in ["10.1.2.3", "192.0.2.1", "2001:db8::1"] {
            #expect(
                try client(peer, ["198.51.100.7"], trusting: "10.0.0.0/8, 192.0.2.1\n2001:db8::/32") == "198.51.100.7")
        }
    }

    @Test(
        "a part that is no block is named",
        arguments: ["10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "proxy", "::/129"])
    func invalid(block: String) {
        let error = #expect(throws: AddressBlocks.InvalidBlock.self) { try AddressBlocks("10.0.0.0/8 \(block)") }
        #expect(error?.text == block)
    }
}
