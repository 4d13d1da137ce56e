import Foundation

/// How fuzz tests run: `CUSTOMERD_TEST_FUZZ_SECONDS` is how long each runs (10 s by default), `CUSTOMERD_TEST_FUZZ_SEED`
/// its first seed (1 by default, so that a run without settings can be repeated).
public enum Fuzzing {
    public static let duration = Duration.seconds(setting("SECONDS") ?? 10)
    public static let seed = UInt64(setting("SEED") ?? 1)

    private static func setting(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment["CUSTOMERD_TEST_FUZZ_\(name)"].flatMap { Int($0) }
    }

    /// Runs a body with one seed after another until the time is over.
    ///
    /// - Returns: how many times it ran.
    @discardableResult
    public static func run(_ body: (UInt64) async throws -> Void) async rethrows -> Int {
        let end = ContinuousClock.now + duration
        var next = seed
        repeat {
            try await body(next)
            next &+= 1
        } while ContinuousClock.now < end
        return Int(next &- seed)
    }
}

extension SeededGenerator {
    /// A number below a limit.
    public mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    public mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

    /// Text with some of its bytes inserted, removed, replaced or repeated, mostly by bytes that mean something in it.
    public mutating func mutation(of text: [UInt8], with meaningful: [UInt8]) -> [UInt8] {
        var text = text
        for _ in 0...below(3) {
            let place = below(text.count + 1)
            switch below(4) {
            case 0: text.insert(pick(meaningful), at: place)
            case 1 where place < text.count: text.remove(at: place)
            case 2 where place < text.count: text[place] = pick(meaningful)
            case 3 where place < text.count:
                let end = place + below(text.count - place)
                text.insert(contentsOf: text[place..<end], at: place)
            default: break
            }
        }
        return text
    }
}
