/// The last entry of a chain at some time: what `audit.heads` holds now, what a checkpoint signed then.
public struct ChainHead: Sendable, Hashable {
    /// The chain, a UUID in lower case; the zero UUID for that of strangers.
    public let appID: String
    /// How many entries the chain has.
    public let seq: Int
    /// The hash of the last of them, 32 bytes.
    public let hash: [UInt8]

    /// A chain before its first entry.
    static func genesis(_ appID: String) -> ChainHead {
        ChainHead(appID: appID, seq: 0, hash: [UInt8](repeating: 0, count: 32))
    }
}
