import LibPQ
import NIOHTTP1
import NIOSSL

/// One attempt to deliver an event: signed, sent, and what came of it.
///
/// Source: Standard Webhooks, version 1.0.0.
public struct WebhookSender: Sendable {
    /// For everything: the look-up of the name, the connection, the handshake, and the whole answer.
    static let timeout = Duration.seconds(15)

    let addresses: WebhookAddresses
    let secrets: SecretBox
    private let tls: NIOSSLContext
    private let lookUp: WebhookConnection.LookUp

    /// - Parameters:
    ///   - addresses: what may be reached.
    ///   - authorities: a PEM file of certificate authorities that are trusted besides those of the system; nil for none.
    /// - Throws: when that file can't be read.
    public init(addresses: WebhookAddresses, secrets: SecretBox, authorities: String? = nil) throws {
        try self.init(
            addresses: addresses, secrets: secrets, authorities: authorities, lookUp: WebhookConnection.lookUp)
    }

    init(
        addresses: WebhookAddresses, secrets: SecretBox, authorities: String? = nil,
        lookUp: @escaping WebhookConnection.LookUp
    ) throws {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        if let authorities { configuration.additionalTrustRoots = [.file(authorities)] }
        self.addresses = addresses
        self.secrets = secrets
        self.tls = try NIOSSLContext(configuration: configuration)
        self.lookUp = lookUp
    }

    /// Where to, and what it is signed with; or why it can't be sent.
    typealias Target = Result<(url: WebhookURL, secrets: [WebhookSecret]), WebhookFailure>

    /// - Parameter previous: the other secret, while a rotation overlaps. One that no key opens any more is left out: rotating
    ///   the secret is what helps then.
    func target(of appID: UUID, url: String, secret: [UInt8], previous: [UInt8]?) -> Target {
        guard let url = try? WebhookURL(url) else { return .failure(.invalidURL) }
        guard let current = secrets.open(secret, for: appID) else { return .failure(.unopenedSecret) }
        let other = previous.flatMap { secrets.open($0, for: appID) }
        return .success((url: url, secrets: [current] + (other.map { [$0] } ?? [])))
    }

    /// What came of an attempt.
    struct Outcome: Sendable {
        let status: Int?
        let failure: WebhookFailure?
        /// Seconds that the receiver wants to be left alone.
        let retryAfter: Int?
        let began: ContinuousClock.Instant
        let duration: Duration

        var isDelivered: Bool { status.map { (200...299).contains($0) } ?? false }
        /// RFC 9110, section 15.5.11: the receiver wants no more.
        var isGone: Bool { status == 410 }

        /// For the history; nil after a success.
        var error: String? {
            if let failure { return failure.message }
            guard let status, !isDelivered else { return nil }
            return (300...399).contains(status) ? "redirects aren't followed" : "the receiver answered \(status)"
        }
    }

    /// - Parameter connection: one that an earlier attempt left open, if any; afterwards the one that this leaves open.
    func send(
        _ body: String, id: UUID, to target: Target, over connection: inout WebhookConnection?
    ) async -> Outcome {
        let began = ContinuousClock.now
        let deadline = began + Self.timeout
        do throws(WebhookFailure) {
            let answer = try await self.answer(body, id, target, &connection, until: deadline)
            return Outcome(
                status: answer.status, failure: nil, retryAfter: answer.retryAfter.flatMap(Self.seconds),
                began: began, duration: .now - began)
        } catch {
            connection = nil
            return Outcome(status: nil, failure: error, retryAfter: nil, began: began, duration: .now - began)
        }
    }

    private func answer(
        _ body: String, _ id: UUID, _ target: Target, _ connection: inout WebhookConnection?,
        until deadline: ContinuousClock.Instant
    ) async throws(WebhookFailure) -> WebhookConnection.Reply {
        let (url, secrets) = try target.get()
        let (id, timestamp) = (id.text, Int(Date().timeIntervalSince1970))
        let signatures = secrets.map { $0.signature(id: id, timestamp: timestamp, body: body) }
        let headers: HTTPHeaders = [
            "content-type": "application/json", "user-agent": "customerd", "webhook-id": id,
            "webhook-timestamp": String(timestamp), "webhook-signature": signatures.joined(separator: " "),
        ]
        if let known = connection {
            connection = nil
            do throws(WebhookFailure) {
                let answer = try await known.post(body, to: url, headers: headers, until: deadline)
                if answer.isReusable { connection = known }
                return answer
            } catch {
                // The receiver may have closed a connection that it had no use for, or have sent more than its last answer
                // (a 204 with a body), and have seen nothing of this.
                guard [.closed, .malformedAnswer].contains(error) else { throw error }
            }
        }
        let new = try await WebhookConnection.open(url, addresses, lookUp: lookUp, tls: tls, until: deadline)
        let answer = try await new.post(body, to: url, headers: headers, until: deadline)
        if answer.isReusable { connection = new }
        return answer
    }

    /// `Retry-After` in either of its forms (RFC 9110, section 10.2.3), at most an hour.
    private static func seconds(_ text: String) -> Int? {
        let seconds = Int(text) ?? Date(header: text).map { Int($0.timeIntervalSinceNow.rounded(.up)) }
        return seconds.map { max(0, min($0, 3600)) }
    }
}

extension Date {
    /// Reads an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
    fileprivate init?(header text: String) {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard let match = text.wholeMatch(of: /[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT/),
            let month = months.firstIndex(of: String(match.2))
        else { return nil }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let components = DateComponents(
            year: Int(match.3), month: month + 1, day: Int(match.1), hour: Int(match.4), minute: Int(match.5),
            second: Int(match.6))
        guard let date = calendar.date(from: components) else { return nil }
        self = date
    }
}
