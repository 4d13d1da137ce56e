import NIOCore
import ServiceLifecycle
import SystemPackage

/// Where to listen, and whether with TLS.
public struct ListenAddress: Sendable {
    public let host: String
    public let port: Int
    public let tls: CertificateFiles?

    public init(host: String, port: Int, tls: CertificateFiles?) {
        self.host = host
        self.port = port
        self.tls = tls
    }
}

/// An address that the server can't listen on, such as a port that is taken.
public struct ListenError: Error, CustomStringConvertible {
    public let description: String

    init(_ address: ListenAddress, _ cause: IOError) {
        description = "Can't listen on \(address.host):\(address.port): \(Errno(rawValue: cause.errnoCode))."
    }

    init(unknown address: ListenAddress) {
        description = "Can't listen on \(address.host):\(address.port): no such host is known (CUSTOMERD_HOST)."
    }
}

/// A server whose failure to listen names the address.
struct ListeningServer: Service {
    let server: any Service
    let address: ListenAddress

    func run() async throws {
        do {
            try await server.run()
        } catch let error as IOError {
            throw ListenError(address, error)
        } catch is SocketAddressError.UnknownHost {
            throw ListenError(unknown: address)
        }
    }
}
