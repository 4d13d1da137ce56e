import Administration
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
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard (1...200).contains(name.unicodeScalars.count) else {
                throw ValidationError("--name must have 1 to 200 characters.")
            }
            try checkName(name)
            guard expiresIn.map((1...Keys.longestTime).contains) ?? true else {
                throw ValidationError("--expires-in must be a number of seconds from 1 to \(Keys.longestTime).")
            }
        }

        func run() async throws {
            try await CommandRunner.connected(as: "keys") { _, connection in
                let key = try await APIKeys(connection: connection).create(
                    app: app, role: role, name: name, lifetime: expiresIn.map { .seconds($0) }, deadline: Keys.deadline
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
        ]
    }

    fileprivate var line: String {
        let facts = [
            "created \(createdAt)",
            expiresAt.map { "expires \($0)" },
            revokedAt.map { "revoked \($0)" },
            lastUsedAt.map { "last used \($0)" } ?? "never used",
            previousSecretExpiresAt.map { "old secret until \($0)" },
        ]
        let shown = TextRule.visible(name)
        return "\(clientKey)  \(appID.text)  \(role)  \(shown)  (\(facts.compactMap { $0 }.joined(separator: ", ")))"
    }
}
