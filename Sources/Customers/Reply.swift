/// An answer with what goes along in headers for whoever authenticated.
public struct Reply: Sendable {
    public let answer: Answer
    public let rate: RateStatus?

    public init(_ answer: Answer, _ rate: RateStatus? = nil) {
        self.answer = answer
        self.rate = rate
    }
}
