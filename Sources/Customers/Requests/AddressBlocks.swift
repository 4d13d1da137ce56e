/// Addresses and CIDR blocks (RFC 4632).
public struct AddressBlocks: Sendable {
    private struct Block: Sendable {
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

    /// A part of a list that is neither an address nor a CIDR block.
    public struct InvalidBlock: Error, Sendable {
        public let text: String
    }

    private let blocks: [Block]

    /// - Parameter list: addresses and blocks, separated by commas or white space.
    /// - Throws: the first part that is neither.
    public init(_ list: String) throws(InvalidBlock) {
        var blocks: [Block] = []
        for text in list.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
            let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let address = IPAddress(parts[0]) else { throw InvalidBlock(text: String(text)) }
            let bits = address.bytes.count * 8
            let length = parts.count == 2 ? Int(parts[1]) ?? -1 : bits
            guard (0...bits).contains(length) else { throw InvalidBlock(text: String(text)) }
            blocks.append(Block(address: address, length: length))
        }
        self.blocks = blocks
    }

    /// A list that the code itself holds.
    init(known list: String) {
        do { try self.init(list) } catch { preconditionFailure("\(error.text) is no CIDR block") }
    }

    /// None at all.
    public static let none = AddressBlocks(known: "")

    public var isEmpty: Bool { blocks.isEmpty }

    public func contains(_ address: IPAddress) -> Bool {
        blocks.contains { $0.contains(address) }
    }
}
