/// Something that must never be, and the part of the history that shows it.
package struct Violation: Sendable, Hashable, CustomStringConvertible {
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        /// No order of the operations on a customer, each at a time between its call and its return, explains what was
        /// answered, recorded and found.
        case notLinearizable = "no order explains it"
        case undecided = "too many orders to tell"
        /// A customer is gone, and no entry says so.
        case lostDeletion = "deletion without entry"
        case missingEntry = "missing entry"
        case surplusEntry = "entry too many"
        case wrongEntry = "wrong entry"
        /// The answer says one thing, the trail another.
        case guess = "answer that guesses"
        case doubleEffect = "double effect"
        case changedReplay = "changed replay"
        case unexpectedAnswer = "unexpected answer"
        case unfinishedAttempt = "unfinished attempt"
        /// The trail's order contradicts time.
        case wrongOrder = "trail out of order"
        case brokenChain = "broken chain"
        /// A reader of the trail saw what isn't so.
        case staleTrail = "stale trail"
        case personalData = "personal data left"
        case stuckKey = "stuck key"
        /// An instance ended on its own, or ended badly.
        case instanceFailed = "instance failed"
    }

    package var kind: Kind
    /// What is wrong, in a sentence.
    package var finding: String
    /// The part of the history that shows it, a line each.
    package var evidence: [String]

    package init(_ kind: Kind, _ finding: String, _ evidence: [String] = []) {
        self.kind = kind
        self.finding = finding
        self.evidence = evidence
    }

    package var description: String {
        (["\(kind.rawValue): \(finding)"] + evidence.map { "    \($0)" }).joined(separator: "\n")
    }
}
