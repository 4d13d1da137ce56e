public import AuditTrail
import Crypto
public import Customers
public import LibPQ

/// An API key as operators see it: everything but its secret. Times are RFC 3339 in UTC.
public struct APIKey: Sendable, Hashable {
    public let appID: UUID
    public let clientKey: String
    public let name: String
    public let role: String
    public let createdAt: String
    /// When it stops working; nil for never.
    public let expiresAt: String?
    public let revokedAt: String?
    /// nil if it never was.
    public let lastUsedAt: String?
    /// Until when the secret before the last rotation works; nil if there is none.
    public let previousSecretExpiresAt: String?
    public let restrictions: KeyRestrictions
}

/// In what a key may do less than its role, the service's rate limit and its network allow. A rotation keeps all of it.
public struct KeyRestrictions: Sendable, Hashable {
    /// Requests in one window; nil for the limit of the service.
    public var rateLimit: Int?
    /// Addresses and CIDR blocks (RFC 4632) that the key is accepted from; empty for all.
    public var allowedAddresses: [String]
    /// Those permissions of its role that it has; empty for all of them.
    public var permissions: [String]

    public init(rateLimit: Int? = nil, allowedAddresses: [String] = [], permissions: [String] = []) {
        self.rateLimit = rateLimit
        self.allowedAddresses = allowedAddresses
        self.permissions = permissions
    }
}

/// When a key stops working.
public enum KeyExpiry: Sendable, Hashable {
    case after(Duration)
    case at(DateTime)
}

/// A key with its secret, which is known only at this moment.
public struct IssuedKey: Sendable {
    public let clientKey: String
    public let secret: String
    public let appID: UUID
    public let role: String
}

/// Why a key couldn't be made or changed.
public enum APIKeyError: Error, Sendable, Hashable {
    case unknownKey(String)
    case revoked(String)
    case expired(String)
    /// A key can't have a permission that its role lacks.
    case beyondRole(String)
    /// It would have expired before it was made.
    case expiryIsPast
    /// The chain of the app takes no entry, so nothing was changed.
    case brokenChain(app: UUID?, String)
    case database(DatabaseError)
}

extension APIKeyError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unknownKey(let key): "There is no key \(key)."
        case .revoked(let key): "The key \(key) is revoked."
        case .expired(let key): "The key \(key) has expired."
        case .beyondRole(let role): "The role \(role) doesn't hold all of these permissions."
        case .expiryIsPast: "The time of --expires is not in the future."
        case .brokenChain(let app, let reason):
            """
            Nothing was changed, because the chain of \(app.map { "app \($0.text)" } ?? "the key's app") takes no entry \
            (\(reason)): `customerd doctor` says what is wrong. A key can be revoked all the same.
            """
        case .database(let error): "\(error)"
        }
    }

    /// What kept an entry from being appended.
    fileprivate init(_ error: DatabaseError, app: UUID?) {
        guard case .server(let cause) = error,
            cause.sqlstate == "CD004" || cause.sqlstate == .uniqueViolation && cause.table == "entries"
        else { self = .database(error); return }
        self = .brokenChain(app: app, cause.message)
    }
}

/// The API keys of all apps, for operators: the session must be the owner's, since the service's own role reaches
/// keys only through `service.admit`.
///
/// A new key or secret and its entry in the app's chain (`key.create`, `key.rotate`) are one statement, so they commit
/// together. A revocation must not wait for a chain: it commits with the receipt that its entry (`key.revoke`) is made from,
/// like a write of the API. The actor is the role of the database session.
public struct APIKeys: Sendable {
    private let connection: Connection

    public init(connection: Connection) {
        self.connection = connection
    }

    /// Makes a key.
    ///
    /// - Parameters:
    ///   - expiry: when it stops working, by the clock of the database; nil for never.
    ///   - restrictions: what keeps it from doing all that its role may.
    public func create(
        app: UUID, role: Role, name: String, expiry: KeyExpiry? = nil, restrictions: KeyRestrictions = .init(),
        deadline: ContinuousClock.Instant
    ) async throws(APIKeyError) -> IssuedKey {
        let key = IssuedKey(
            clientKey: Secrets.keyPrefix + Self.random(bytes: 24),
            secret: Secrets.secretPrefix + Self.random(bytes: 32),
            appID: app, role: role.rawValue
        )
        var (lifetime, end): (Int64?, String?)
        switch expiry {
        case .after(let duration): lifetime = duration.components.seconds
        case .at(let time): end = time.text
        case nil: break
        }
        let permissions = restrictions.permissions.isEmpty ? nil : Array(Set(restrictions.permissions)).sorted()
        let addresses = restrictions.allowedAddresses.isEmpty ? nil : restrictions.allowedAddresses
        let asked = try await rows(
            "SELECT service.permits($1, $2), $3::timestamptz > clock_timestamp()",
            [.text(role.rawValue), .list(permissions), .text(end)], app: app, deadline: deadline
        ).first
        if permissions != nil, asked?.bool(0) != true { throw .beyondRole(role.rawValue) }
        if end != nil, asked?.bool(1) != true { throw .expiryIsPast }
        _ = try await rows(
            """
            WITH changed AS (
                INSERT INTO service.api_keys
                    (app_id, client_key, secret_digest, name, role, expires_at, rate_limit, allowed_addresses,
                     permissions, is_recorded)
                VALUES ($1, $2, $3, $4, $5,
                        coalesce($7::timestamptz, clock_timestamp() + make_interval(secs => $6)), $8::int,
                        (SELECT array_agg(DISTINCT network(a.block::inet)) FROM unnest($9::text[]) AS a (block)),
                        $10, true)
                RETURNING \(Self.columns))
            \(Self.append(action: "key.create"))
            """,
            [
                .uuid(app), .text(key.clientKey), .bytes(Credentials.digest(key.secret)), .text(name),
                .text(role.rawValue), .int(lifetime), .text(end), .int(restrictions.rateLimit), .list(addresses),
                .list(permissions),
            ],
            app: app,
            deadline: deadline
        )
        return key
    }

    /// All keys, or those of one app, in the order in which they were made.
    public func list(app: UUID?, deadline: ContinuousClock.Instant) async throws(APIKeyError) -> [APIKey] {
        try await rows(
            """
            SELECT k.app_id,
                   k.client_key,
                   k.name,
                   k.role,
                   service.rfc3339(k.created_at),
                   service.rfc3339(k.expires_at),
                   service.rfc3339(k.revoked_at),
                   service.rfc3339(w.last_used_at),
                   service.rfc3339(CASE
                       WHEN k.previous_secret_expires_at > clock_timestamp() THEN k.previous_secret_expires_at
                   END),
                   k.rate_limit,
                   array_to_string(k.allowed_addresses, ' '),
                   array_to_string(k.permissions, ' ')
            FROM service.api_keys AS k
            LEFT JOIN service.rate_windows AS w ON w.app_id = k.app_id AND w.key_id = k.id
            WHERE $1::uuid IS NULL OR k.app_id = $1
            ORDER BY k.app_id, k.created_at, k.id
            """,
            [.uuid(app)],
            deadline: deadline
        ).map { row in
            APIKey(
                appID: row.uuid(0) ?? .zero, clientKey: row[1] ?? "", name: row[2] ?? "", role: row[3] ?? "",
                createdAt: row[4] ?? "", expiresAt: row[5], revokedAt: row[6], lastUsedAt: row[7],
                previousSecretExpiresAt: row[8],
                restrictions: KeyRestrictions(
                    rateLimit: row.int(9), allowedAddresses: Self.words(row[10]), permissions: Self.words(row[11]))
            )
        }
    }

    /// Gives a key another secret.
    ///
    /// - Parameter overlap: how long the old secret works beside the new one; zero for not at all. What an earlier
    ///   rotation left over ends now: there are never more than two secrets.
    public func rotate(
        _ clientKey: String, overlap: Duration, deadline: ContinuousClock.Instant
    ) async throws(APIKeyError) -> IssuedKey {
        let secret = Secrets.secretPrefix + Self.random(bytes: 32)
        let rotated = try await rows(
            """
            WITH changed AS (
                UPDATE service.api_keys
                SET secret_digest = $2,
                    previous_secret_digest = CASE WHEN $3::int > 0 THEN secret_digest END,
                    previous_secret_expires_at =
                        CASE WHEN $3::int > 0 THEN clock_timestamp() + make_interval(secs => $3::int) END
                WHERE client_key = $1
                  AND revoked_at IS NULL
                  AND (expires_at > clock_timestamp() OR expires_at IS NULL)
                RETURNING \(Self.columns))
            \(Self.append(action: "key.rotate"))
            """,
            [.text(clientKey), .bytes(Credentials.digest(secret)), .int(overlap.components.seconds)],
            deadline: deadline
        )
        guard let row = rotated.first else { throw try await refusal(clientKey, deadline: deadline) }
        return IssuedKey(clientKey: clientKey, secret: secret, appID: row.uuid(0) ?? .zero, role: row[1] ?? "")
    }

    /// What came of a revocation.
    public enum Revocation: Sendable, Hashable {
        /// Its entry is in the chain.
        case recorded
        /// It was revoked now; its entry follows, by the recovery of any instance, once the app's chain takes entries.
        case recordedLater(DatabaseError)
    }

    /// Revokes a key, immediately and permanently, whatever state the chain of its app is in. Revoking it again changes
    /// nothing and leaves no entry.
    public func revoke(
        _ clientKey: String, deadline: ContinuousClock.Instant
    ) async throws(APIKeyError) -> Revocation {
        let revoked = try await rows(
            """
            WITH changed AS (
                UPDATE service.api_keys
                SET revoked_at = clock_timestamp()
                WHERE client_key = $1
                  AND revoked_at IS NULL
                RETURNING id, revoked_at, \(Self.columns))
            INSERT INTO service.attempts
                (app_id, attempt_id, key_id, action, admitted_at, is_current, entry, lease_expires_at, ttl, outcome,
                 finished_at)
            SELECT c.app_id, gen_random_uuid(), c.id, 'key.revoke', c.revoked_at, false,
                   jsonb_build_object('actor_name', session_user, 'request', \(Self.request)),
                   c.revoked_at, '0', 'SUCCEEDED', c.revoked_at
            FROM changed AS c
            RETURNING app_id, attempt_id
            """,
            [.text(clientKey)],
            deadline: deadline
        )
        guard let attempt = revoked.first else {
            if case .unknownKey(let key) = try await refusal(clientKey, deadline: deadline) { throw .unknownKey(key) }
            return .recorded
        }
        do throws(DatabaseError) {
            // Recovery may be faster, which is as good.
            _ = try await connection.query(
                Statement(
                    """
                    SELECT service.append(
                        $1, jsonb_build_array(jsonb_build_object('id', $2::uuid, 'is_attempt', true)), $3)
                    """,
                    [.uuid(attempt.uuid(0)), .uuid(attempt.uuid(1)), .int(Self.patience)], prepared: false),
                deadline: deadline)
            return .recorded
        } catch {
            return .recordedLater(error)
        }
    }

    /// Milliseconds that the entry of a revocation waits for its chain before it is left to recovery.
    private static let patience = 5000

    /// Appends the entry of what `changed` holds, and answers with app and role.
    private static func append(action: String) -> String {
        """
        SELECT c.app_id, c.role
        FROM changed AS c
        CROSS JOIN LATERAL service.append(
            c.app_id,
            jsonb_build_array(jsonb_build_object(
                'id', gen_random_uuid(),
                'occurred_at', clock_timestamp(),
                'action', '\(action)',
                'outcome', 'SUCCEEDED',
                'actor_name', session_user,
                'request', \(request)))) AS a
        """
    }

    /// What of a key its entry tells.
    private static let columns =
        "app_id, client_key, name, role, expires_at, rate_limit, allowed_addresses, permissions"

    /// What an entry tells of a key, as the expression that makes it.
    private static let request = """
        jsonb_strip_nulls(jsonb_build_object(
            'key', c.client_key, 'name', c.name, 'role', c.role, 'expires_at', service.rfc3339(c.expires_at),
            'rate_limit', c.rate_limit, 'allow', to_jsonb(c.allowed_addresses::text[]), 'permissions', c.permissions))
        """

    private static func words(_ text: String?) -> [String] {
        text?.split(separator: " ").map(String.init) ?? []
    }

    /// From the system's generator (getrandom).
    private static func random(bytes count: Int) -> String {
        SymmetricKey(size: .init(bitCount: count * 8)).withUnsafeBytes { Data($0).base64URL }
    }

    private func refusal(
        _ clientKey: String, deadline: ContinuousClock.Instant
    ) async throws(APIKeyError) -> APIKeyError {
        let found = try await rows(
            """
            SELECT revoked_at IS NOT NULL
            FROM service.api_keys
            WHERE client_key = $1
            """,
            [.text(clientKey)],
            deadline: deadline
        )
        guard let row = found.first else { return .unknownKey(clientKey) }
        return row.bool(0) == true ? .revoked(clientKey) : .expired(clientKey)
    }

    private func rows(
        _ sql: String, _ parameters: [Parameter], app: UUID? = nil, deadline: ContinuousClock.Instant
    ) async throws(APIKeyError) -> [Row] {
        do {
            return try await connection.query(Statement(sql, parameters, prepared: false), deadline: deadline).rows
        } catch {
            throw APIKeyError(error, app: app)
        }
    }
}

extension Parameter {
    fileprivate static func list(_ elements: [String]?) -> Parameter {
        elements.map { .array($0) } ?? .null
    }
}
