public import LibPQ

/// The table of operations: all that a client can ask for under `/api/v0`. Routes are made of it, and openapi.json is
/// checked against it.
public struct Operations: Sendable {
    public let reads: [ReadOperation]
    public let writes: [WriteOperation]

    /// - Parameters:
    ///   - restoreDays: how long after a deletion a customer may be restored; 0 switches restoring off.
    ///   - secrets: what keeps the secrets of webhooks; nil switches making them off.
    ///   - webhookAddresses: what webhooks may reach.
    public init(
        unitOfWork: UnitOfWork, execution: Execution, pool: ConnectionPool, givenUp: GivenUpAttempts,
        restoreDays: Int, secrets: SecretBox?, webhookAddresses: WebhookAddresses
    ) {
        reads =
            [
                .listCustomers, .getCustomer, .checkDeletion, .exportCustomer, .getHold, .getSchedule, .listSchedules,
                .listBulks, .getBulk, .getBulkResults,
            ]
            + Dependents.allCases.map(ReadOperation.list)
            + [
                .listAuditEntries, .getCheckpoint, .getAuditEntry, .proveAuditEntry, .certifyAuditEntry, .listEvents,
                .listWebhooks, .getWebhook, .listWebhookDeliveries, .pingWebhook,
                .describeKey(switchedOff: restoreDays > 0 ? [] : [.restoreCustomers]),
            ]
        let create = CreateCustomer(unitOfWork: unitOfWork)
        let change = ChangeCustomer(unitOfWork: unitOfWork)
        let redact = RedactCustomer(unitOfWork: unitOfWork, pool: pool)
        let restore = RestoreCustomer(unitOfWork: unitOfWork, days: restoreDays)
        let bulk = BulkDeletion(unitOfWork: unitOfWork)
        let schedule = ScheduleDeletion(unitOfWork: unitOfWork)
        let hold = HoldCustomer(unitOfWork: unitOfWork)
        let delete = DeleteCustomer(unitOfWork: unitOfWork, pool: pool)
        let deleteMany = DeleteCustomers(
            delete: delete, unitOfWork: unitOfWork, execution: execution, pool: pool, givenUp: givenUp)
        let webhooks = ManageWebhooks(unitOfWork: unitOfWork, secrets: secrets, addresses: webhookAddresses)
        writes = [
            WriteOperation(
                .deleteCustomer, "DELETE", "/customers/{id}", [.deleteCustomers], idempotencyKey: .required,
                delete.plan),
            WriteOperation(
                .createCustomer, "POST", "/customers", [.writeCustomers], answering: .record, create.plan),
            WriteOperation(
                .updateCustomer, "PATCH", "/customers/{id}", [.writeCustomers], answering: .record, change.members),
            WriteOperation(
                .setStatus, "PATCH", "/customers/{id}/status", [.writeCustomers], answering: .record, change.status),
            WriteOperation(
                .archiveCustomer, "POST", "/customers/{id}/archive", [.deleteCustomers], answering: .record,
                change.archive),
            WriteOperation(
                .unarchiveCustomer, "POST", "/customers/{id}/unarchive", [.deleteCustomers], answering: .record,
                change.unarchive),
            WriteOperation(
                .redactCustomer, "POST", "/customers/{id}/redact", [.deleteCustomers], answering: .record, redact.plan),
            WriteOperation(
                .restoreCustomer, "POST", "/customers/{id}/restore",
                restoreDays > 0 ? [.restoreCustomers] : [.restoreCustomers, .switchedOff], answering: .record,
                restore.plan),
            WriteOperation(
                .deleteCustomers, "POST", "/customers/bulk-delete", [.deleteCustomers], idempotencyKey: .required,
                deleteMany.plan),
            WriteOperation(.placeHold, "PUT", "/customers/{id}/hold", [.deleteCustomers], hold.place),
            WriteOperation(.releaseHold, "DELETE", "/customers/{id}/hold", [.deleteCustomers], hold.release),
            WriteOperation(
                .scheduleDeletion, "PUT", "/customers/{id}/scheduled-deletion", [.deleteCustomers], schedule.schedule),
            WriteOperation(
                .cancelDeletion, "DELETE", "/customers/{id}/scheduled-deletion", [.deleteCustomers], schedule.cancel),
            WriteOperation(
                .createBulk, "POST", "/bulk-deletions", [.deleteCustomers], idempotencyKey: .required,
                largestBody: BulkDeletion.largestBody, answering: .made, bulk.create),
            WriteOperation(.cancelBulk, "DELETE", "/bulk-deletions/{id}", [.deleteCustomers], bulk.cancel),
            WriteOperation(
                .createWebhook, "POST", "/webhooks", [.manageWebhooks], answering: .secret, webhooks.create),
            WriteOperation(.updateWebhook, "PATCH", "/webhooks/{id}", [.manageWebhooks], webhooks.change),
            WriteOperation(.deleteWebhook, "DELETE", "/webhooks/{id}", [.manageWebhooks], webhooks.delete),
            WriteOperation(
                .rotateWebhookSecret, "POST", "/webhooks/{id}/rotate-secret", [.manageWebhooks], answering: .secret,
                webhooks.rotateSecret),
            WriteOperation(.replayWebhook, "POST", "/webhooks/{id}/replay", [.manageWebhooks], webhooks.replay),
        ]
    }
}

/// A read: what a client may ask for, what it needs for that, and how it is answered. It leaves no attempt behind.
public struct ReadOperation: Sendable {
    /// HTTP method.
    public let method: String
    /// Path with `{id}` for what is read, if it is one thing.
    public let path: String
    /// What a key needs, all of it.
    public let permissions: [Permission]
    let kind: Kind

    /// Whether its answer is the same for HEAD, without the body: not where reading leaves an entry, nor where the body
    /// may never end.
    public var answersHead: Bool {
        switch kind {
        case .query, .queries: true
        case .events, .export, .ping: false
        }
    }

    enum Kind: Sendable {
        /// Reads the request, and says what to ask the database.
        case query(@Sendable (APIRequest) throws(Invalidity) -> Query)
        /// The same, where it takes more than one statement, or the key that asks.
        case queries(@Sendable (APIRequest) throws(Invalidity) -> Queries)
        /// See ``ReadOperation/listEvents``.
        case events
        /// See ``ReadOperation/exportCustomer``.
        case export
        /// See ``ReadOperation/pingWebhook``.
        case ping
    }

    /// What a read asks the database, by the app that asks, and what is answered to what that says.
    struct Query: Sendable {
        let statement: @Sendable (UUID) -> Statement
        let answer: @Sendable (QueryResult) throws(DatabaseError) -> Answer

        init(
            _ statement: @escaping @Sendable (_ appID: UUID) -> Statement,
            _ answer: @escaping @Sendable (QueryResult) throws(DatabaseError) -> Answer
        ) {
            self.statement = statement
            self.answer = answer
        }
    }

    /// Asks the database, and makes an answer of what that says.
    typealias Queries = @Sendable (Connection, Caller) async throws(DatabaseError) -> Answer

    init(method: String = "GET", _ path: String, _ permissions: [Permission], _ kind: Kind) {
        self.method = method
        self.path = "/api/v0" + path
        self.permissions = permissions
        self.kind = kind
    }

    init(
        _ path: String, _ permissions: [Permission],
        _ plan: @escaping @Sendable (APIRequest) throws(Invalidity) -> Query
    ) {
        self.init(path, permissions, .query(plan))
    }

    /// What takes more than one statement, or the key that asks.
    static func queries(
        _ path: String, _ permissions: [Permission],
        _ plan: @escaping @Sendable (APIRequest) throws(Invalidity) -> Queries
    ) -> ReadOperation {
        ReadOperation(path, permissions, .queries(plan))
    }

    /// What the path names.
    ///
    /// - Parameters:
    ///   - sql: `$1` is the app, `$2` the `{id}`.
    ///   - answer: what to say of the row, if there is one.
    static func one(
        _ path: String, _ permission: Permission, _ sql: String,
        _ answer: @escaping @Sendable (Row?) throws(DatabaseError) -> Answer
    ) -> ReadOperation {
        ReadOperation(path, [permission]) { request throws(Invalidity) in
            let id = try request.pathID()
            return Query { appID in
                Statement(sql, [.uuid(appID), .uuid(id)])
            } _: { found throws(DatabaseError) in
                try answer(found.rows.first)
            }
        }
    }
}

/// A write: what a client may ask for, what it needs for that, and what is done then.
public struct WriteOperation: Sendable {
    public let action: Action
    /// HTTP method.
    public let method: String
    /// Path with `{id}` for the customer, if it is about one.
    public let path: String
    /// What a key needs, all of it.
    public let permissions: [Permission]
    public let idempotencyKey: KeyRule
    /// Bytes of a body that are accepted.
    public let largestBody: Int
    /// Bytes of a body that most operations accept, and that are read before the credentials are known.
    public static let usualBody = 64 * 1024
    /// Reads the request.
    let plan: @Sendable (APIRequest) throws(Invalidity) -> Plan
    let success: Success

    /// Whether the client has to name the request by an idempotency key.
    public enum KeyRule: Sendable, Hashable {
        case required
        case optional
    }

    /// What a success answers with, besides the stored body.
    enum Success: Sendable {
        case body
        /// The validator of the record in the body, which still exists: `ETag`.
        case record
        /// The path of what was made, whose id is that of the attempt: `Location`.
        case made
        /// The secret in the body, which is stored sealed.
        case secret
    }

    /// What a valid request comes to.
    struct Plan: Sendable {
        /// Requests of the rate budget.
        var cost = 1
        /// What of the body makes two requests the same.
        var body: [UInt8] = []
        let work: Execution.Work
        /// What follows on a success, once its entry is durable and before the answer.
        var afterwards: (@Sendable (Lease) async -> Void)?
    }

    init(
        _ action: Action, _ method: String, _ path: String, _ permissions: [Permission],
        idempotencyKey: KeyRule = .optional, largestBody: Int = Self.usualBody, answering success: Success = .body,
        _ plan: @escaping @Sendable (APIRequest) throws(Invalidity) -> Plan
    ) {
        self.action = action
        self.method = method
        self.path = "/api/v0" + path
        self.permissions = permissions
        self.idempotencyKey = idempotencyKey
        self.largestBody = largestBody
        self.success = success
        self.plan = plan
    }

    /// Whether the path names what it is about.
    private var hasID: Bool {
        path.contains("{id}")
    }

    /// Whether that is a customer.
    private var isAboutCustomer: Bool {
        path.hasPrefix("/api/v0/customers/{id}")
    }

    /// The attempt that a request is, and its work. What is wrong with the request is told later, to those who may ask at
    /// all.
    ///
    /// - Parameter mayRead: false if the body isn't to be looked at: the request is about to be refused.
    func attempt(_ request: APIRequest, mayRead: Bool = true) -> (Attempt, Plan) {
        let key = AttemptKey(action: action, customerID: isAboutCustomer ? request.id : nil)
        var invalidity = hasID && request.id == nil ? Invalidity.invalidPathID : nil
        var idempotencyKey: UUID?
        switch request.idempotencyKey {
        case .success(let value): idempotencyKey = value
        case .failure(.missingIdempotencyKey) where self.idempotencyKey == .optional: break
        case .failure(let error): invalidity = invalidity ?? error
        }
        invalidity = invalidity ?? request.invalidity ?? (mayRead ? nil : .body("the body could not be read"))
        var planned: Plan?
        if invalidity == nil {
            do throws(Invalidity) { planned = try plan(request) } catch { invalidity = error }
        }
        let plan =
            planned ?? Plan { _, _ throws(WriteError) in throw .failed(.unexpected("an invalid request was admitted")) }
        let attempt = Attempt(
            id: .timeOrdered(),
            key: key,
            idempotencyKey: idempotencyKey,
            invalidity: invalidity,
            fingerprint: Fingerprint.of(key, ifMatch: request.ifMatch, body: canonicalBody(plan.body)),
            context: request.context,
            cost: plan.cost,
            permissions: permissions,
            deadline: request.deadline
        )
        return (attempt, plan)
    }
}

extension WriteOperation.Plan {
    /// A write that is these statements alone.
    ///
    /// - Parameter statements: the last finishes the attempt and returns its receipt.
    init(in unitOfWork: UnitOfWork, body: [UInt8] = [], statements: @escaping @Sendable (Lease) -> [Statement]) {
        self.init(body: body) { lease, deadline throws(WriteError) in
            let statements = statements(lease)
            return try await unitOfWork.run(&lease, deadline: deadline, statements)
        }
    }

    /// A write that is one statement, which finishes the attempt and returns its receipt.
    init(
        in unitOfWork: UnitOfWork, body: [UInt8] = [],
        _ statement: @escaping @Sendable (Lease) throws(WriteError) -> Statement
    ) {
        self.init(body: body) { lease, deadline throws(WriteError) in
            let statement = try statement(lease)
            return try await unitOfWork.run(&lease, deadline: deadline, [statement])
        }
    }
}
