import Foundation
import TestSupport
import Testing

/// The service speaks TLS itself when it is given a certificate.
@Suite("Serving TLS", .enabled(if: SelfSignedCertificate.canBeMade, "takes openssl"), .stage())
struct ServingTLSTests {
    let stage = Stage.current

    private func settings(_ certificate: String, _ key: String) -> [String: String] {
        ["CUSTOMERD_TLS_CERTIFICATE": certificate, "CUSTOMERD_TLS_KEY": key, "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "2"]
    }

    @Test("requests over TLS are answered, and plain ones aren't")
    func serves() async throws {
        let certificate = try SelfSignedCertificate()
        let service = try await RunningService.start(
            on: stage.database, settings(certificate.certificate, certificate.key), trusting: certificate)
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.deletion(of: customer.id).send(to: service.port, trusting: certificate)
        let plain = try RawConnection(port: service.port)
        await plain.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        let unanswered = await plain.reply(within: .seconds(10))

        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(try await tenant.entries().map { $0["ip"] } == ["127.0.0.1"])
        #expect(unanswered == .closed)
        service.terminate()
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
    }

    @Test("a certificate that is replaced is served to new connections, and one that won't do isn't")
    func replaced() async throws {
        let (served, first) = (try SelfSignedCertificate(), try SelfSignedCertificate())
        let (next, unfinished) = (try SelfSignedCertificate(), try SelfSignedCertificate())
        try served.replace(by: first)
        var settings = settings(served.certificate, served.key)
        settings["CUSTOMERD_TLS_RELOAD_SECONDS"] = "1"
        let service = try await RunningService.start(on: stage.database, settings, trusting: first)
        let live = HTTPCall("GET", "/health/live")

        try served.replace(by: next)
        try await eventually("the new certificate was served") {
            (try? await live.send(to: service.port, trusting: next))?.status == 200
        }
        await #expect(throws: (any Error).self) { try await live.send(to: service.port, trusting: first) }

        // A certificate without its key yet.
        try served.replace(by: unfinished, key: false)
        try await eventually("what doesn't fit together was noticed") {
            service.log.contains("certificate not replaced")
        }
        #expect(try await live.send(to: service.port, trusting: next).status == 200)
        let metrics = try await HTTPCall("GET", "/metrics").send(to: service.port, trusting: next).body
        let expiry = try #require(metrics.firstMatch(of: /\ncustomerd_tls_certificate_expiry_timestamp_seconds (\S+)/))
        let remaining = try #require(Double(expiry.1)) - Date().timeIntervalSince1970
        #expect((29 * 86_400...30 * 86_400).contains(remaining), "openssl makes them for thirty days")

        try served.replace(by: unfinished)
        try await eventually("what fits together was served") {
            (try? await live.send(to: service.port, trusting: unfinished))?.status == 200
        }
    }

    @Test("a handshake that doesn't go on is hung up on")
    func stalledHandshake() async throws {
        let certificate = try SelfSignedCertificate()
        let service = try await RunningService.start(
            on: stage.database, settings(certificate.certificate, certificate.key), trusting: certificate)

        let connection = try RawConnection(port: service.port)
        // A record of 512 bytes that never comes whole.
        await connection.send([0x16, 0x03, 0x01, 0x02, 0x00])
        let reply = await connection.reply(within: .seconds(15))

        #expect(reply == .closed)
        service.terminate()
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
    }

    @Test(
        "files that won't do end serve with 2 and a sentence",
        arguments: [
            "no certificate", "no key", "a certificate that is none", "a key that is none", "another's key",
            "a key with a passphrase", "one of the two",
        ])
    func badFiles(what: String) async throws {
        let (good, other) = (try SelfSignedCertificate(), try SelfSignedCertificate(passphrase: "hunter2-hunter2"))
        let plain = try SelfSignedCertificate()
        let (files, variable) =
            switch what {
            case "no certificate": (["/nowhere/certificate.pem", good.key], "CUSTOMERD_TLS_CERTIFICATE")
            case "no key": ([good.certificate, "/nowhere/key.pem"], "CUSTOMERD_TLS_KEY")
            case "a certificate that is none": ([good.key, good.key], "CUSTOMERD_TLS_CERTIFICATE")
            case "a key that is none": ([good.certificate, good.certificate], "CUSTOMERD_TLS_KEY")
            case "another's key": ([good.certificate, plain.key], "CUSTOMERD_TLS_KEY")
            case "a key with a passphrase": ([other.certificate, other.key], "CUSTOMERD_TLS_KEY")
            default: ([good.certificate, ""], "CUSTOMERD_TLS_KEY")
            }
        var settings = settings(files[0], files[1])
        settings["DATABASE_URL"] = stage.database.url(user: "customerd_service")
        settings["CUSTOMERD_PORT"] = "\(RunningService.freePort())"

        let ended = try await Customerd.run(["serve"], settings, within: .seconds(20))

        #expect(ended.status == 2)
        #expect(ended.errors.contains(variable), "\(ended.errors)")
        #expect(ended.errors.split(separator: "\n").count <= 3, "a sentence, no stack trace: \(ended.errors)")
        #expect(!ended.errors.contains("hunter2"))
    }
}
