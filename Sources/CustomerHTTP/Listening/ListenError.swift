import NIOCore
import SystemPackage

/// An address on which nobody can listen, such as a port that is taken.
public struct ListenError: Error, CustomStringConvertible {
    public let description: String

    init(_ address: ListenAddress, _ cause: IOError) {
        description = "Can't listen on \(address.host):\(address.port): \(Errno(rawValue: cause.errnoCode))."
    }
}
