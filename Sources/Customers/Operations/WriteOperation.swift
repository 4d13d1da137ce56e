public import LibPQ

/// One row of the table of writes: what a client may ask for, what it needs for that, and what is done then.
public struct WriteOperation: Sendable {
    public let action: Action
    /// HTTP method.
    public let method: String
    /// Path with `{id}` for the customer, if it is about one.
    public let path: String
    /// What a key needs, all of it.
    public let permissions: [Permission]
    public let idempotencyKey: KeyRule
    /// Reads the request.
    let plan: @Sendable (WriteRequest) throws(Invalidity) -> Plan

    /// Whether the client has to name the request by an idempotency key.
    public enum KeyRule: Sendable, Hashable {
        case required
        case optional
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
        idempotencyKey: KeyRule = .optional,
        _ plan: @escaping @Sendable (WriteRequest) throws(Invalidity) -> Plan
    ) {
        self.action = action
        self.method = method
        self.path = "/api/v0/customers" + path
        self.permissions = permissions
        self.idempotencyKey = idempotencyKey
        self.plan = plan
    }

    /// Whether the path names a customer.
    var isAboutCustomer: Bool {
        path.contains("{id}")
    }

    /// The attempt that a request is, and its work. What is wrong with the request is told later, to those who may ask at
    /// all.
    func attempt(_ request: WriteRequest) -> (Attempt, Plan) {
        let key = AttemptKey(action: action, customerID: isAboutCustomer ? request.customerID : nil)
        var invalidity = isAboutCustomer && request.customerID == nil ? Invalidity.invalidCustomerID : nil
        var idempotencyKey: UUID?
        switch request.idempotencyKey {
        case .success(let value): idempotencyKey = value
        case .failure(.idempotencyKeyIsMissing) where self.idempotencyKey == .optional: break
        case .failure(let error): invalidity = invalidity ?? error
        }
        invalidity = invalidity ?? request.invalidity
        var planned: Plan?
        if invalidity == nil {
            do throws(Invalidity) { planned = try plan(request) } catch { invalidity = error }
        }
        let plan =
            planned ?? Plan { _, _ throws(WriteError) in throw .failed(.unexpected("an invalid request was admitted")) }
        let attempt = Attempt(
            id: .random(),
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

/// The table of writes. Routes, the test of permissions and the description of the API read it.
public struct Writes: Sendable {
    public let operations: [WriteOperation]

    /// - Parameter restoreDays: how long after a deletion a customer may be restored; 0 switches restoring off.
    public init(
        unitOfWork: UnitOfWork, execution: Execution, pool: ConnectionPool, givenUp: GivenUpAttempts, limits: Limits,
        restoreDays: Int
    ) {
        let create = CreateCustomer(unitOfWork: unitOfWork)
        let change = ChangeCustomer(unitOfWork: unitOfWork)
        let redact = RedactCustomer(unitOfWork: unitOfWork, pool: pool)
        let restore = RestoreCustomer(unitOfWork: unitOfWork, days: restoreDays)
        let delete = DeleteCustomer(unitOfWork: unitOfWork, pool: pool)
        let deleteMany = BulkDelete(
            delete: delete, unitOfWork: unitOfWork, execution: execution, pool: pool, givenUp: givenUp)
        operations = [
            WriteOperation(.deleteCustomer, "DELETE", "/{id}", [.deleteCustomers], idempotencyKey: .required) {
                request throws(Invalidity) in try delete.plan(request)
            },
            WriteOperation(.createCustomer, "POST", "", [.writeCustomers]) {
                request throws(Invalidity) in try create.plan(request)
            },
            WriteOperation(.updateCustomer, "PATCH", "/{id}", [.writeCustomers]) {
                request throws(Invalidity) in try change.plan(request, .change)
            },
            WriteOperation(.setStatus, "PATCH", "/{id}/status", [.writeCustomers]) {
                request throws(Invalidity) in try change.plan(request, .status)
            },
            WriteOperation(.archiveCustomer, "POST", "/{id}/archive", [.deleteCustomers]) {
                request throws(Invalidity) in try change.plan(request, isArchived: true)
            },
            WriteOperation(.unarchiveCustomer, "POST", "/{id}/unarchive", [.deleteCustomers]) {
                request throws(Invalidity) in try change.plan(request, isArchived: false)
            },
            WriteOperation(.redactCustomer, "POST", "/{id}/redact", [.deleteCustomers]) {
                request throws(Invalidity) in try redact.plan(request)
            },
            WriteOperation(
                .restoreCustomer, "POST", "/{id}/restore",
                restoreDays > 0 ? [.restoreCustomers] : [.restoreCustomers, .nobody]
            ) {
                request throws(Invalidity) in try restore.plan(request)
            },
            WriteOperation(.deleteCustomers, "POST", "/bulk-delete", [.deleteCustomers], idempotencyKey: .required) {
                request throws(Invalidity) in try deleteMany.plan(request, limits)
            },
        ]
    }
}

extension WriteRequest {
    /// The customer of the path, of an operation that is about one.
    func customer() throws(Invalidity) -> UUID {
        guard let customerID else { throw .invalidCustomerID }
        return customerID
    }
}
