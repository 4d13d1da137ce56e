/// A value of a request body, in the order and with the numbers that the client wrote.
enum BodyValue: Sendable, Hashable {
    case null
    case bool(Bool)
    /// As it was written; ``BodyReader`` has checked its grammar.
    case number(String)
    case string(String)
    case array([BodyValue])
    /// Every name occurs once.
    case object([Member])

    struct Member: Sendable, Hashable {
        let name: String
        let value: BodyValue
    }
}
