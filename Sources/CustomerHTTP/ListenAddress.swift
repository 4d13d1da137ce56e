import NIOSSL

/// Where to listen, and whether with TLS.
public struct ListenAddress: Sendable {
    public let host: String
    public let port: Int
    public let tls: Certificate?

    public init(host: String, port: Int, tls: Certificate?) {
        self.host = host
        self.port = port
        self.tls = tls
    }

    /// Paths of PEM files: a certificate chain and its private key.
    public struct Certificate: Sendable {
        public let chain: String
        public let key: String

        public init(chain: String, key: String) {
            self.chain = chain
            self.key = key
        }

        /// TLS 1.2 or later (RFC 8996).
        func configuration() throws -> TLSConfiguration {
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMFile(chain).map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            )
            configuration.minimumTLSVersion = .tlsv12
            return configuration
        }
    }
}
