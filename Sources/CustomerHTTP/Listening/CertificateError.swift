/// A file that TLS can't be served with.
public struct CertificateError: Error, Sendable, Hashable, CustomStringConvertible {
    public enum Part: Sendable {
        case chain
        case key
    }

    public let part: Part
    public let path: String
    /// The end of a sentence that begins with the path.
    let problem: String

    public var description: String { "\(path) \(problem)." }
}
