import Administration
import AuditTrail
public import ArgumentParser
import Customers

/// `customerd keys …`: the API keys of all apps.
struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys",
        abstract: "Create, list, rotate and revoke API keys.",
        discussion: "Each change leaves an entry in the audit trail of the key's app.",
        subcommands: [Create.self, List.self, Rotate.self, Revoke.self]
    )

    /// Long enough for any query about a small table.
    static var deadline: ContinuousClock.Instant { .now + .seconds(30) }
    static let longestTime = 100 * 366 * 86_400
    /// The permissions that a key can have.
    static let permissions = Permission.grantable.map(\.rawValue).joined(separator: ", ")
}

extension Keys {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a key. Its secret is shown once; only a digest is kept."
        )

        @Option(help: "The app that the key belongs to, a UUID.", transform: parseApp)
        var app: UUID
        @Option(help: "The role, which decides what the key may do.")
        var role: Role
        @Option(help: "A name for operators, at most 200 characters.")
        var name: String
        @Option(help: "Expire the key after this many seconds; by default it doesn't expire.")
        var expiresIn: Int?
        @Option(
            help: ArgumentHelp("Expire the key at this time, such as 2026-01-31T09:30:00Z.", valueName: "time"),
            transform: { text in
                guard let time = DateTime(text) else {
                    throw ValidationError("--expires must be an RFC 3339 date-time, not \"\(text)\".")
                }
                return time
            }
        )
        var expires: DateTime?
        @Option(help: "Requests in one rate window; by default the limit of the service.")
        var rateLimit: Int?
        @Option(
            help: ArgumentHelp(
                "Accept the key from this address or CIDR block only; can be repeated. By default from all.",
                valueName: "cidr"))
        var allow: [String] = []
        @Option(
            help: ArgumentHelp(
                "Give the key this permission of its role only; can be repeated. By default all of them.",
                discussion: Keys.permissions, valueName: "permission"),
            transform: { text in
                guard let permission = Permission(rawValue: text), Permission.grantable.contains(permission) else {
                    throw ValidationError("--permission must be one of \(Keys.permissions), not \"\(text)\".")
                }
                return permission
            }
        )
        var permission: [Permission] = []
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard (1...200).contains(name.unicodeScalars.count) else {
                throw ValidationError("--name must have 1 to 200 characters.")
            }
            try checkName(name)
            guard expiresIn.map((1...Keys.longestTime).contains) ?? true else {
                throw ValidationError("--expires-in must be a number of seconds from 1 to \(Keys.longestTime).")
            }
            guard expiresIn == nil || expires == nil else {
                throw ValidationError("--expires and --expires-in can't be given together.")
            }
            guard rateLimit.map(Limits.rateLimits.contains) ?? true else {
                throw ValidationError(
                    "--rate-limit must be a number of requests from 1 to \(Limits.rateLimits.upperBound).")
            }
            for block in allow {
                // One block, not a list of them, as which the parser would also accept it.
                let isOne = !block.isEmpty && !block.contains { $0 == "," || $0.isWhitespace }
                guard isOne, (try? AddressBlocks(block)) != nil else {
                    throw ValidationError("--allow must be an address or a CIDR block, not \"\(block)\".")
                }
            }
        }

        func run() async throws {
            try await CommandRunner.connected(as: "keys") { _, connection in
                let key = try await APIKeys(connection: connection).create(
                    app: app, role: role, name: name,
                    expiry: expires.map { .at($0) } ?? expiresIn.map { .after(.seconds($0)) },
                    restrictions: KeyRestrictions(
                        rateLimit: rateLimit, allowedAddresses: allow, permissions: permission.map(\.rawValue)),
                    deadline: Keys.deadline
                )
                output.print(key)
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List keys, without secrets.")

        @Option(help: "Only the keys of this app, a UUID.", transform: parseApp)
        var app: UUID?
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await CommandRunner.connected(as: "keys") { _, connection in
                let keys = try await APIKeys(connection: connection).list(app: app, deadline: Keys.deadline)
                output.print(["keys": .array(keys.map(\.json))], else: table(keys))
            }
        }

        private func table(_ keys: [APIKey]) -> String {
            keys.isEmpty ? "There are no keys." : keys.map(\.line).joined(separator: "\n")
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rotate a key's secret; the old secret stays valid during the overlap.",
            discussion: "A secret that an earlier rotation left valid becomes invalid immediately."
        )

        @Argument(help: "The client key, as in x-client-key.")
        var clientKey: String
        @Option(help: "How many seconds the old secret stays valid; 0 to invalidate it immediately.")
        var overlap: Int
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard (0...Keys.longestTime).contains(overlap) else {
                throw ValidationError("--overlap must be a number of seconds from 0 to \(Keys.longestTime).")
            }
        }

        func run() async throws {
            try await CommandRunner.connected(as: "keys") { _, connection in
                let key = try await APIKeys(connection: connection).rotate(
                    clientKey, overlap: .seconds(overlap), deadline: Keys.deadline
                )
                output.print(key)
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revoke a key, immediately and permanently.")

        @Argument(help: "The client key, as in x-client-key.")
        var clientKey: String
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await CommandRunner.connected(as: "keys") { _, connection in
                let revocation = try await APIKeys(connection: connection).revoke(clientKey, deadline: Keys.deadline)
                output.print(
                    ["client_key": .string(clientKey), "revoked": .bool(true)], else: "Revoked \(clientKey)."
                )
                if case .recordedLater(let error) = revocation {
                    StandardError.print(
                        """
                        Its audit entry isn't written yet (\(error)). A running instance writes it as soon as the chain \
                        takes entries again; `customerd doctor` says what is wrong with it.
                        """)
                }
            }
        }
    }
}

extension Role: ExpressibleByArgument {}

extension OutputOptions {
    fileprivate func print(_ key: IssuedKey) {
        print(
            [
                "client_key": .string(key.clientKey), "client_secret": .string(key.secret),
                "app_id": .string(key.appID.text), "role": .string(key.role),
            ],
            else: """
                x-client-key:    \(key.clientKey)
                x-client-secret: \(key.secret)
                (app \(key.appID.text), role \(key.role); the secret is shown only once)
                """
        )
    }
}

extension APIKey {
    fileprivate var json: JSON {
        [
            "app_id": .string(appID.text), "client_key": .string(clientKey), "name": .string(name),
            "role": .string(role), "created_at": .string(createdAt), "expires_at": .string(expiresAt),
            "revoked_at": .string(revokedAt), "last_used_at": .string(lastUsedAt),
            "previous_secret_expires_at": .string(previousSecretExpiresAt),
            "rate_limit": .int(restrictions.rateLimit),
            "allow": restrictions.allowedAddresses.isEmpty
                ? .null : .array(restrictions.allowedAddresses.map { .string($0) }),
            "permissions": restrictions.permissions.isEmpty
                ? .null : .array(restrictions.permissions.map { .string($0) }),
        ]
    }

    fileprivate var line: String {
        let facts = [
            "created \(createdAt)",
            expiresAt.map { "expires \($0)" },
            revokedAt.map { "revoked \($0)" },
            lastUsedAt.map { "last used \($0)" } ?? "never used",
            previousSecretExpiresAt.map { "old secret until \($0)" },
            restrictions.rateLimit.map { "\($0) requests in a window" },
            restrictions.allowedAddresses.isEmpty
                ? nil : "only from \(restrictions.allowedAddresses.joined(separator: " "))",
            restrictions.permissions.isEmpty ? nil : "only \(restrictions.permissions.joined(separator: " "))",
        ]
        let shown = TextRule.visible(name)
        return "\(clientKey)  \(appID.text)  \(role)  \(shown)  (\(facts.compactMap { $0 }.joined(separator: ", ")))"
    }
}
