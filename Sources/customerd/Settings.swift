import Administration
import Configuration
import CustomerHTTP
import Customers
import LibPQ
import Logging
import NIOCore

/// All settings, from the environment, validated at once. The one place that reads it, besides libpq for its `PG*`.
///
/// Source: docs/api.md, Settings; `.env.example`.
struct Settings: Sendable {
    /// Where to listen: CUSTOMERD_HOST, CUSTOMERD_PORT (0 for any free port).
    let host: String
    let port: Int
    /// HTTP connections at one time: CUSTOMERD_MAX_CONNECTIONS; nil for as many as the descriptors allow.
    let maxConnections: Int?
    /// How long a client may leave a connection idle: CUSTOMERD_IDLE_TIMEOUT_SECONDS.
    let idleTimeout: Duration
    /// Connections for requests: CUSTOMERD_POOL_SIZE.
    let poolSize: Int
    let limits: Limits
    /// How long a deleted customer can be restored; 0 for not at all: CUSTOMERD_RESTORE_DAYS.
    let restoreDays: Int
    /// How long the context of an entry is kept; 0 for ever: CUSTOMERD_CONTEXT_RETENTION_DAYS.
    let contextRetentionDays: Int
    /// Items of large bulk deletions that an instance deletes in a second: CUSTOMERD_BULK_PER_SECOND.
    let bulkPerSecond: Int
    /// The addresses whose `X-Forwarded-For` is believed: CUSTOMERD_TRUSTED_PROXIES.
    let trustedProxies: AddressBlocks
    /// What encrypts the secrets of webhooks, which are off without it: CUSTOMERD_SECRETS_KEY.
    let secrets: SecretBox?
    /// Addresses that webhooks may reach although they aren't public: CUSTOMERD_WEBHOOK_ALLOW.
    let webhookAllow: AddressBlocks
    /// A PEM file of authorities that receivers' certificates may have besides those of the system: CUSTOMERD_WEBHOOK_CA.
    let webhookAuthorities: String?
    /// Whether a superuser or the owner of the trail may serve: CUSTOMERD_ALLOW_OWNER.
    let allowOwner: Bool
    /// The names of the roles: CUSTOMERD_ROLE_PREFIX.
    let roles: DatabaseRoles
    let logLevel: Logger.Level
    /// How the log is written: LOG_FORMAT.
    let logFormat: LogFormat
    /// What `serve` connects with: DATABASE_URL; empty for libpq's own variables. It may hold a password.
    let serviceConninfo: String
    /// What the other commands connect with: CUSTOMERD_MIGRATE_DATABASE_URL. It may hold a password.
    let ownerConninfo: String
    /// Off behind a pooler in transaction mode: CUSTOMERD_PREPARE_STATEMENTS.
    let preparesStatements: Bool
    /// PEM files to serve TLS with, both or none: CUSTOMERD_TLS_CERTIFICATE, CUSTOMERD_TLS_KEY.
    let tlsCertificate: String?
    let tlsKey: String?
    let tlsReloadInterval: Duration
}

extension Settings {
    /// - Throws: for the first invalid value.
    init(_ provider: EnvironmentVariablesProvider = EnvironmentVariablesProvider()) throws(SettingsError) {
        let environment = Environment(provider)
        let given = environment.string("CUSTOMERD_HOST") ?? "127.0.0.1"
        // As a URL has an IPv6 address.
        let isBracketed = given.hasPrefix("[") && given.hasSuffix("]") && given.contains(":")
        host = isBracketed ? String(given.dropFirst().dropLast()) : given
        // What looks like an address has to be one: with a port, it isn't. What follows a % is the zone (RFC 4007).
        let address = String(host.prefix { $0 != "%" })
        let looksLikeAddress = host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
        guard !host.contains(where: { $0.isWhitespace || "/[]".contains($0) }),
            !looksLikeAddress || (try? SocketAddress(ipAddress: address, port: 0)) != nil
        else {
            throw SettingsError(variable: "CUSTOMERD_HOST", expectation: "an address or a host name", value: given)
        }
        port = try environment.int("CUSTOMERD_PORT", in: 0...65_535, default: 8080)
        maxConnections = try environment.int("CUSTOMERD_MAX_CONNECTIONS", in: 1...1_000_000)
        idleTimeout = .seconds(try environment.int("CUSTOMERD_IDLE_TIMEOUT_SECONDS", in: 1...3600, default: 60))
        poolSize = try environment.int("CUSTOMERD_POOL_SIZE", in: 1...1000, default: 10)
        limits = try Limits(environment)
        restoreDays = try environment.int("CUSTOMERD_RESTORE_DAYS", in: 0...36_500, default: 0)
        contextRetentionDays = try environment.int("CUSTOMERD_CONTEXT_RETENTION_DAYS", in: 0...36_500, default: 0)
        bulkPerSecond = try environment.int("CUSTOMERD_BULK_PER_SECOND", in: 1...1000, default: 50)
        trustedProxies = try Self.addresses(environment, "CUSTOMERD_TRUSTED_PROXIES")
        secrets = try Self.secrets(environment)
        webhookAllow = try Self.addresses(environment, "CUSTOMERD_WEBHOOK_ALLOW")
        webhookAuthorities = environment.string("CUSTOMERD_WEBHOOK_CA")
        allowOwner = try environment.bool("CUSTOMERD_ALLOW_OWNER", default: false)
        roles = try Self.roles(environment)
        logLevel = try Self.logLevel(environment)
        logFormat = try Self.logFormat(environment)
        serviceConninfo = try Self.conninfo(environment, "DATABASE_URL") ?? ""
        ownerConninfo = try Self.conninfo(environment, "CUSTOMERD_MIGRATE_DATABASE_URL") ?? serviceConninfo
        preparesStatements = try environment.bool("CUSTOMERD_PREPARE_STATEMENTS", default: true)
        tlsCertificate = environment.string("CUSTOMERD_TLS_CERTIFICATE")
        tlsKey = environment.string("CUSTOMERD_TLS_KEY")
        tlsReloadInterval = .seconds(
            try environment.int("CUSTOMERD_TLS_RELOAD_SECONDS", in: 1...86_400, default: 60))
        guard (tlsCertificate == nil) == (tlsKey == nil) else {
            let (missing, present) =
                tlsKey == nil
                ? ("CUSTOMERD_TLS_KEY", "CUSTOMERD_TLS_CERTIFICATE")
                : ("CUSTOMERD_TLS_CERTIFICATE", "CUSTOMERD_TLS_KEY")
            throw SettingsError(
                variable: missing, expectation: "the path of a PEM file as well when \(present) is set", value: nil
            )
        }
    }

    private static func addresses(
        _ environment: Environment, _ variable: String
    ) throws(SettingsError) -> AddressBlocks {
        let text = environment.string(variable) ?? ""
        do {
            return try AddressBlocks(text)
        } catch {
            throw SettingsError(
                variable: variable,
                expectation: "a list of addresses or CIDR blocks such as 10.0.0.0/8, separated by commas or spaces",
                value: text
            )
        }
    }

    private static func secrets(_ environment: Environment) throws(SettingsError) -> SecretBox? {
        guard let text = environment.string("CUSTOMERD_SECRETS_KEY", isSecret: true) else { return nil }
        do {
            return try SecretBox(text)
        } catch {
            throw SettingsError(
                variable: "CUSTOMERD_SECRETS_KEY",
                expectation: "one or more keys of 32 bytes in base64, separated by commas (openssl rand -base64 32)",
                value: nil
            )
        }
    }

    private static func roles(_ environment: Environment) throws(SettingsError) -> DatabaseRoles {
        let prefix = environment.string("CUSTOMERD_ROLE_PREFIX") ?? "customerd"
        guard let roles = DatabaseRoles(prefix: prefix) else {
            throw SettingsError(
                variable: "CUSTOMERD_ROLE_PREFIX",
                expectation: "1 to 41 lower-case letters, digits and underscores, no digit first",
                value: prefix
            )
        }
        return roles
    }

    private static func logLevel(_ environment: Environment) throws(SettingsError) -> Logger.Level {
        guard let text = environment.string("LOG_LEVEL") else { return .info }
        guard let level = Logger.Level(rawValue: text.lowercased()) else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw SettingsError(variable: "LOG_LEVEL", expectation: "one of \(levels)", value: text)
        }
        return level
    }

    private static func logFormat(_ environment: Environment) throws(SettingsError) -> LogFormat {
        guard let text = environment.string("LOG_FORMAT") else { return .text }
        guard let format = LogFormat(rawValue: text.lowercased()) else {
            throw SettingsError(variable: "LOG_FORMAT", expectation: "text or json", value: text)
        }
        return format
    }

    private static func conninfo(_ environment: Environment, _ variable: String) throws(SettingsError) -> String? {
        guard let conninfo = environment.string(variable, isSecret: true) else { return nil }
        guard ConnectionSettings(conninfo: conninfo).isWellFormed else {
            throw SettingsError(
                variable: variable,
                expectation: "a connection string that libpq understands, such as postgresql://user@host:5432/database",
                value: nil
            )
        }
        return conninfo
    }
}

extension Limits {
    fileprivate init(_ environment: Environment) throws(SettingsError) {
        self.init(
            rateLimit: try environment.int("CUSTOMERD_RATE_LIMIT", in: Self.rateLimits, default: 100),
            rateWindow: .seconds(try environment.int("CUSTOMERD_RATE_WINDOW_SECONDS", in: 1...86_400, default: 60)),
            idempotencyTTL: .seconds(
                try environment.int("CUSTOMERD_IDEMPOTENCY_TTL_SECONDS", in: 1...31_536_000, default: 86_400)),
            // The lease is five seconds longer, and no retry may have to wait longer than thirty for the true outcome.
            requestTimeout: .seconds(try environment.int("CUSTOMERD_REQUEST_TIMEOUT_SECONDS", in: 1...25, default: 10))
        )
    }
}

extension Settings {
    /// More would only take memory.
    private static let mostConnections = 20_000

    /// The limit of HTTP connections that leaves enough descriptors for the database's.
    ///
    /// - Parameter descriptors: how many the process may have open.
    /// - Throws: if the descriptors don't suffice for the configured number.
    func connections(descriptors: Int) throws(SettingsError) -> Int {
        // libpq's socket and the duplicate that is watched, for every pool and again while they are replaced; a socket for
        // each webhook that is being delivered.
        let reserved = 64 + 4 * (poolSize + 7) + (secrets == nil ? 0 : WebhookDeliverer.mostTurns)
        let possible = max(1, descriptors - reserved)
        guard let maxConnections else { return min(Self.mostConnections, possible) }
        guard maxConnections <= possible else {
            throw SettingsError(
                variable: "CUSTOMERD_MAX_CONNECTIONS",
                expectation: "at most \(possible) where the process may open \(descriptors) descriptors (ulimit -Hn)",
                value: "\(maxConnections)"
            )
        }
        return maxConnections
    }
}
