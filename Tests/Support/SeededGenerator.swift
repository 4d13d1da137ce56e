/// Random numbers that are the same in every run. Source: SplitMix64, Steele, Lea and Flood (2014).
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(seed: UInt64) {
        state = seed
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// Text of so many characters out of some.
    public mutating func text(_ length: ClosedRange<Int>, of characters: String) -> String {
        let all = Array(characters)
        return String(
            (0..<Int.random(in: length, using: &self)).map { _ in all[Int.random(in: all.indices, using: &self)] })
    }

    public mutating func bytes(_ length: ClosedRange<Int>, in range: ClosedRange<UInt8> = 0...255) -> [UInt8] {
        (0..<Int.random(in: length, using: &self)).map { _ in UInt8.random(in: range, using: &self) }
    }
}
