import TestSupport

/// What a client does next. Its own generator alone decides, never what was answered, so that the same seed asks for the
/// same things in the same order.
struct Step: Sendable, Hashable {
    enum Kind: CaseIterable, Sendable {
        case create, delete, update, setStatus, archive, unarchive, redact, restore, bulkDelete, read, check, list,
            trail
        case addInvoice, removeInvoice
        /// Something that was asked before, under the same key.
        case askAgain

        /// How often it is chosen, in proportion.
        var weight: Int {
            switch self {
            case .delete: 16
            case .restore: 20
            case .create: 12
            case .update: 14
            case .askAgain: 10
            case .read: 8
            case .bulkDelete, .addInvoice, .removeInvoice: 6
            case .check: 5
            case .setStatus, .archive, .unarchive, .list, .trail: 3
            case .redact: 2
            }
        }
    }

    /// The places of an app that customers take: few, so that clients meet.
    static let places = 5

    var kind: Kind
    var tenant: Int
    var place: Int
    /// Of a bulk request, besides `place`.
    var otherPlaces: [Int]
    /// Chooses among what has been asked before.
    var choice: UInt64
    var instance: Int
    /// Whether it is asked twice at once, of two instances, under the same key.
    var isTwin: Bool
    /// Whether it has an idempotency key where none is required.
    var isKeyed: Bool
    /// Whether it is asked until there is a true outcome.
    var insists: Bool
    var isDryRun: Bool
    var sendsIfMatch: Bool
    /// The mark of the person that the reason names, if one is given.
    var reason: String?
    var status: String
    var key: String
    var mark: String
    /// Before the next step, in milliseconds.
    var pause: Int

    /// - Parameter tenants: how many apps there are.
    init(using generator: inout SeededGenerator, tenants: Int) {
        let kinds = Kind.allCases.flatMap { Array(repeating: $0, count: $0.weight) }
        kind = kinds[Int.random(in: kinds.indices, using: &generator)]
        tenant = Int.random(in: 0..<tenants, using: &generator)
        place = Int.random(in: 0..<Self.places, using: &generator)
        otherPlaces = (0..<Int.random(in: 0...3, using: &generator)).map { _ in
            Int.random(in: 0..<Self.places, using: &generator)
        }
        choice = generator.next()
        instance = Int.random(in: 0...1, using: &generator)
        isTwin = Int.random(in: 0..<7, using: &generator) == 0
        isKeyed = Bool.random(using: &generator)
        insists = Int.random(in: 0..<5, using: &generator) > 0
        isDryRun = Int.random(in: 0..<4, using: &generator) == 0
        sendsIfMatch = Int.random(in: 0..<3, using: &generator) == 0
        let named = generator.mark()
        reason = Int.random(in: 0..<3, using: &generator) == 0 ? named : nil
        status = ["ACTIVE", "BLACKLISTED", "DEACTIVATED"][Int.random(in: 0...2, using: &generator)]
        key = generator.id()
        mark = generator.mark()
        pause = Int.random(in: 0...60, using: &generator)
    }
}

extension SeededGenerator {
    /// A UUID, version 4.
    mutating func id() -> String {
        let (high, low) = (next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000, next() & 0x3FFF_FFFF_FFFF_FFFF | 1 << 63)
        let digits = Array(Self.hexadecimal(high) + Self.hexadecimal(low))
        return [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(digits[$0]) }.joined(separator: "-")
    }

    /// What makes a person's data recognizable.
    mutating func mark() -> String {
        "zq\(Self.hexadecimal(next()))"
    }

    private static func hexadecimal(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
