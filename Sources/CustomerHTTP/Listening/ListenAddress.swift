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
