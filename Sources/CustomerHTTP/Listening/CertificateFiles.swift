import NIOSSL

/// PEM files that TLS is served with: a certificate chain and its private key.
public struct CertificateFiles: Sendable {
    public let chain: String
    public let key: String
    /// How often they are read again, as whoever renews certificates replaces files.
    public let interval: Duration

    public init(chain: String, key: String, interval: Duration) {
        self.chain = chain
        self.key = key
        self.interval = interval
    }

    /// TLS 1.2 or later (RFC 8996), with what the files hold now.
    func configuration() throws(CertificateError) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try certificates().map { .certificate($0) },
            privateKey: .privateKey(try privateKey())
        )
        configuration.minimumTLSVersion = .tlsv12
        do {
            // The server would find out as well, in the words of BoringSSL.
            _ = try NIOSSLContext(configuration: configuration)
        } catch {
            throw CertificateError(part: .key, path: key, problem: "isn't the key of the certificate in \(chain)")
        }
        return configuration
    }

    private func certificates() throws(CertificateError) -> [NIOSSLCertificate] {
        try check(chain, .chain)
        guard let certificates = try? NIOSSLCertificate.fromPEMFile(chain), !certificates.isEmpty else {
            throw CertificateError(part: .chain, path: chain, problem: "holds no certificate in PEM form")
        }
        return certificates
    }

    private func privateKey() throws(CertificateError) -> NIOSSLPrivateKey {
        try check(key, .key)
        // An empty passphrase, so that nobody is asked for one on the terminal.
        guard let privateKey = try? NIOSSLPrivateKey(file: key, format: .pem, passphraseCallback: { $0([UInt8]()) })
        else {
            let problem = "holds no private key in PEM form without a passphrase"
            throw CertificateError(part: .key, path: key, problem: problem)
        }
        return privateKey
    }

    private func check(_ path: String, _ part: CertificateError.Part) throws(CertificateError) {
        guard !FileManager.default.isReadableFile(atPath: path) else { return }
        throw CertificateError(part: part, path: path, problem: "can't be read")
    }
}
