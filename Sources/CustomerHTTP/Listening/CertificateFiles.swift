public import Logging
import Metrics
public import NIOCertificateReloading
public import NIOSSL
import X509

/// PEM files that TLS is served with: a certificate chain and its private key.
public struct CertificateFiles: Sendable {
    public let chain: String
    public let key: String
    /// How often they are read again: a certificate is renewed by replacing the files.
    public let interval: Duration

    public init(chain: String, key: String, interval: Duration) {
        self.chain = chain
        self.key = key
        self.interval = interval
    }

    /// TLS 1.2 or later (RFC 8996), with what the files hold now.
    public func configuration() throws(CertificateError) -> TLSConfiguration {
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
        // An empty passphrase, so that OpenSSL doesn't prompt for one on the terminal.
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

extension CertificateFiles {
    /// What reads the files again and again while it runs: a handshake gets the last pair that fitted together.
    public func reloader(_ logger: Logger) -> TimedCertificateReloader {
        let expiry = Gauge(label: "customerd_tls_certificate_expiry_timestamp_seconds")
        let reloader = TimedCertificateReloader(
            configuration: .init(
                refreshInterval: interval,
                certificateSource: .init(location: .file(path: chain), format: .pem),
                privateKeySource: .init(location: .file(path: key), format: .pem)
            ) {
                $0.onCertificateLoaded = { change in
                    let (previous, current) = (change.previousX509CertificateChain, change.currentX509CertificateChain)
                    guard let certificate = current.first else { return }
                    expiry.record(certificate.notValidAfter.timeIntervalSince1970)
                    guard let previous, previous != current else { return }
                    let expires = certificate.notValidAfter.formatted(.iso8601)
                    logger.info("certificate replaced", metadata: ["expires": "\(expires)"])
                }
                $0.onCertificateLoadFailed = { failure in
                    logger.warning("certificate not replaced", metadata: ["error": "\(failure.error)"])
                }
            }
        )
        // So that what replaces the files is known from what was there at the start, and when that expires.
        try? reloader.reload()
        return reloader
    }
}

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
