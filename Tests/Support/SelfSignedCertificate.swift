import Foundation

/// A certificate for this machine and its key, in PEM files that are gone with the value. Made by `openssl`.
public final class SelfSignedCertificate: Sendable {
    /// Whether there is an `openssl` to make one.
    public static let canBeMade = FileManager.default.isExecutableFile(atPath: openssl)

    private static let openssl = "/usr/bin/openssl"

    public let certificate: String
    public let key: String
    private let directory: String

    /// - Parameters:
    ///   - passphrase: of the key; none when nil.
    ///   - name: the only name that it is for, if it isn't for this machine.
    public init(passphrase: String? = nil, name: String? = nil) throws {
        let place = FileManager.default.temporaryDirectory.appendingPathComponent("certificate-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        directory = place.path
        certificate = "\(directory)/certificate.pem"
        key = "\(directory)/key.pem"
        let protection = passphrase.map { ["-passout", "pass:\($0)"] } ?? ["-nodes"]
        try Command(
            [Self.openssl, "req", "-x509", "-subj", "/CN=\(name ?? "localhost")"]
                + ["-addext", "subjectAltName=\(name.map { "DNS:\($0)" } ?? "IP:127.0.0.1")"]
                + ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", key, "-out", certificate]
                + protection
        ).run()
    }

    /// Puts the other's files where these are, one after the other.
    ///
    /// - Parameter key: whether that of the key, too.
    public func replace(by other: SelfSignedCertificate, key replacesKey: Bool = true) throws {
        for (old, new) in [(certificate, other.certificate)] + (replacesKey ? [(key, other.key)] : []) {
            try Data(contentsOf: URL(fileURLWithPath: new)).write(to: URL(fileURLWithPath: old), options: .atomic)
        }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: directory)
    }
}
