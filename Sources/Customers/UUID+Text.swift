public import Foundation

extension UUID {
    /// The identifier in lower case, the only form that leaves this service.
    public var text: String {
        uuidString.lowercased()
    }

    /// Reads the 8-4-4-4-12 form of RFC 9562 in any case, and nothing else.
    public init?(strict text: some StringProtocol) {
        guard text.utf8.count == 36, let value = UUID(uuidString: String(text)) else { return nil }
        self = value
    }

    /// The nil UUID: the app of those who never authenticated.
    public static let zero = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
}
