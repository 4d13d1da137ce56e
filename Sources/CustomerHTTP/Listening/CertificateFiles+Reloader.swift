import Logging
import Metrics
import NIOCertificateReloading
import X509

extension CertificateFiles {
    /// What reads the files again and again while it runs: a handshake gets the last pair that fitted together.
    func reloader(_ logger: Logger) -> TimedCertificateReloader {
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
