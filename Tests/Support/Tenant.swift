import Foundation
import LibPQ

/// An app of a test's own with an API key.
public struct Tenant: Sendable {
    /// What `customerd keys create` answers.
    public struct Key: Sendable, Decodable {
        enum CodingKeys: String, CodingKey {
            case clientKey = "client_key"
            case secret = "client_secret"
            case app = "app_id"
            case role
        }

        public var clientKey: String
        public var secret: String
        public var app: String
        public var role: String

        public init(clientKey: String, secret: String, app: String, role: String) {
            self.clientKey = clientKey
            self.secret = secret
            self.app = app
            self.role = role
        }

        /// The headers that a client authenticates with.
        public var headers: [(name: String, value: String)] {
            [("x-client-key", clientKey), ("x-client-secret", secret)]
        }
    }

    public let database: TestDatabase
    public let service: RunningService
    public let key: Key

    public init(database: TestDatabase, service: RunningService, key: Key) {
        self.database = database
        self.service = service
        self.key = key
    }

    public var app: String { key.app }

    /// The same app, asked through another instance.
    public func through(_ service: RunningService) -> Tenant {
        Tenant(database: database, service: service, key: key)
    }

    /// The same app with another key of its own.
    public func with(_ key: Key) -> Tenant {
        Tenant(database: database, service: service, key: key)
    }
}

extension TestDatabase {
    /// Makes an API key, as `customerd keys create` does, but without its entry: the trails that the tests read begin with
    /// what they ask for.
    public func createKey(app: String, role: String = "admin", name: String = "tests") async throws -> Tenant.Key {
        func random(_ bytes: Int) -> String {
            Data((0..<bytes).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
                .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        }
        let key = Tenant.Key(clientKey: "ck_\(random(24))", secret: "cs_\(random(32))", app: app, role: role)
        SecretLedger.shared.note(key.secret)
        try await rows(
            """
            INSERT INTO service.api_keys (app_id, client_key, secret_digest, name, role)
            VALUES ($1, $2, sha256(convert_to($3, 'UTF8')), $4, $5)
            """,
            [.text(app), .text(key.clientKey), .text(key.secret), .text(name), .text(role)])
        return key
    }

    /// Makes an API key by `customerd keys create`.
    ///
    /// - Parameter options: of the command, in addition.
    public func createKey(app: String, role: String = "admin", options: [String]) async throws -> Tenant.Key {
        try key(
            from: try await customerd(
                ["keys", "create", "--app", app, "--role", role, "--name", "tests", "--json"] + options))
    }

    /// Replaces the secret of a key; the old one stays valid for the overlap.
    public func rotate(_ key: Tenant.Key, overlap: Int) async throws -> Tenant.Key {
        try self.key(from: try await customerd(["keys", "rotate", key.clientKey, "--overlap", "\(overlap)", "--json"]))
    }

    public func revoke(_ key: Tenant.Key) async throws {
        try await customerd(["keys", "revoke", key.clientKey])
    }

    private func key(from output: String) throws -> Tenant.Key {
        let key = try JSONDecoder().decode(Tenant.Key.self, from: Data(output.utf8))
        SecretLedger.shared.note(key.secret)
        return key
    }
}

extension Tenant {
    // MARK: - Asking

    /// A deletion of a customer, ready to be sent or changed.
    ///
    /// - Parameters:
    ///   - idempotencyKey: none when nil.
    ///   - headers: in addition.
    public func deletion(
        of customer: String, idempotencyKey: String? = newID(), headers: [(name: String, value: String)] = []
    ) -> HTTPCall {
        let idempotency = idempotencyKey.map { [(name: "idempotency-key", value: $0)] } ?? []
        return HTTPCall(
            "DELETE", "/api/v0/customers/\(customer)",
            headers: key.headers + [("user-agent", "contract-tests/1")] + idempotency + headers
        )
    }

    public func send(_ call: HTTPCall) async throws -> HTTPAnswer {
        try await call.send(to: service.port)
    }

    /// Deletes a customer.
    public func delete(
        _ customer: String, idempotencyKey: String? = newID(), headers: [(name: String, value: String)] = []
    ) async throws -> HTTPAnswer {
        try await send(deletion(of: customer, idempotencyKey: idempotencyKey, headers: headers))
    }

    // MARK: - What is there

    /// Inserts a customer.
    @discardableResult
    public func insert(_ customer: CustomerFixture = CustomerFixture()) async throws -> CustomerFixture {
        try await database.rows(
            """
            INSERT INTO customers
                (app_id, id, first_name, last_name, email, phone_number, status, customer_type, last_spent,
                 last_purchase_date, created_at, updated_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            """,
            [
                .text(app), .text(customer.id), .text(customer.firstName), .text(customer.lastName),
                .text(customer.email), .text(customer.phoneNumber), .text(customer.status),
                .text(customer.customerType), .text(customer.lastSpent), .text(customer.lastPurchaseDate),
                .text(customer.createdAt), .text(customer.updatedAt),
            ]
        )
        return customer
    }

    /// Inserts many customers at once.
    ///
    /// - Returns: their ids.
    public func insert(count: Int) async throws -> [String] {
        try await database.rows(
            """
            INSERT INTO customers (app_id, first_name, last_name, email)
            SELECT $1, 'John', 'Doe ' || n, 'john' || n || '@example.com'
            FROM generate_series(1, $2::int) AS n
            RETURNING id
            """,
            [.text(app), .int(count)]
        ).compactMap { $0["id"] }
    }

    /// Inserts a row that refers to a customer.
    ///
    /// - Parameter values: further columns, as SQL.
    public func insertDependent(_ table: String, of customer: String, _ values: [String: String] = [:]) async throws {
        let columns = ["app_id", "customer_id"] + values.keys
        let literals = ["'\(app)'", "'\(customer)'"] + values.values
        try await database.run(
            "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(literals.joined(separator: ", ")))"
        )
    }

    public func hasCustomer(_ id: String) async throws -> Bool {
        try await database.value(
            "SELECT 1 FROM customers WHERE app_id = $1 AND id = $2", [.text(app), .text(id)]
        ) != nil
    }

    /// The trail of the app, oldest first.
    public func entries() async throws -> [TrailEntry] {
        try await database.entries(app: app)
    }

    /// The trail of the app about one customer, oldest first.
    public func entries(about customer: String) async throws -> [TrailEntry] {
        try await entries().filter { $0["customer_id"] == customer }
    }

    /// The columns that an entry of this key's attempt has to have, whatever the outcome.
    public func expectation(
        _ outcome: String, _ status: Int, customer: String?, idempotencyKey: String?, answer: HTTPAnswer
    ) async throws -> [String: String] {
        var columns = [
            "app_id": app, "action": "customer.delete", "outcome": outcome, "status_code": String(status),
            "actor_client_key": key.clientKey, "actor_name": "tests", "actor_role": key.role, "ip": "127.0.0.1",
            "user_agent": "contract-tests/1",
        ]
        columns["actor_key_id"] = try await database.value(
            "SELECT id FROM service.api_keys WHERE client_key = $1", [.text(key.clientKey)])
        columns["customer_id"] = customer
        columns["idempotency_key"] = idempotencyKey
        columns["request_id"] = answer["x-request-id"]
        return columns
    }
}
