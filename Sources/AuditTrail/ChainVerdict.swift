/// What a verification has found, over all chains that were looked at.
public struct ChainVerdict: Sendable, Hashable {
    /// Where a chain is broken first.
    public struct Break: Sendable, Hashable {
        /// The chain, as the trail names it; the zero UUID for that of strangers. nil if it is none in particular.
        public let appID: String?
        /// The first entry that isn't there or isn't what it was; nil if it is none in particular.
        public let seq: Int?
        /// In words.
        public let reason: String
    }

    /// How many entries there are.
    public internal(set) var entries = 0
    /// How many of them are proven: all up to the break of their chain.
    public internal(set) var verified = 0
    /// How many chains there are.
    public internal(set) var chains = 0
    /// The break of the first broken chain, in the order of their apps.
    public internal(set) var broken: Break?
    /// Where the chains that are whole end, in the order of their apps.
    public internal(set) var heads: [ChainHead] = []
}
