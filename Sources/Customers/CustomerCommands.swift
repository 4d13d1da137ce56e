/// What clients do to customers: each a unit of work behind the write path. The audit entry is durable by the time
/// that a reply is returned.
public struct CustomerCommands: Sendable {
    private let writePath: WritePath
    private let createCustomer: CreateCustomer
    private let changeCustomer: ChangeCustomer
    private let redactCustomer: RedactCustomer
    private let restoreCustomer: RestoreCustomer
    private let deleteCustomer: DeleteCustomer
    private let bulkDelete: BulkDelete

    public init(
        writePath: WritePath, createCustomer: CreateCustomer, changeCustomer: ChangeCustomer,
        redactCustomer: RedactCustomer, restoreCustomer: RestoreCustomer, deleteCustomer: DeleteCustomer,
        bulkDelete: BulkDelete
    ) {
        self.writePath = writePath
        self.createCustomer = createCustomer
        self.changeCustomer = changeCustomer
        self.redactCustomer = redactCustomer
        self.restoreCustomer = restoreCustomer
        self.deleteCustomer = deleteCustomer
        self.bulkDelete = bulkDelete
    }

    /// What restoring needs; nobody has it while restoring is off.
    public var restorePermissions: [Permission] {
        restoreCustomer.permissions
    }

    public func create(
        _ attempt: Attempt, _ credentials: Credentials, _ fields: CustomerFields?
    ) async -> Reply {
        // Made once an attempt, so that running the unit of work again inserts the same customer.
        let customerID = UUID.random()
        return await writePath.reply(to: attempt, credentials) { lease, deadline throws(UnitOfWorkError) in
            guard let fields else { throw .leaseLost }
            return try await createCustomer(customerID, fields, lease: &lease, deadline: deadline)
        }
    }

    /// - Parameter entityTags: of `If-Match`, nil without.
    public func change(
        _ attempt: Attempt, _ credentials: Credentials, _ fields: CustomerFields?, ifMatch entityTags: [String]? = nil
    ) async -> Reply {
        await onCustomer(attempt, credentials) { customerID, lease, deadline throws(UnitOfWorkError) in
            guard let fields else { throw .leaseLost }
            return try await changeCustomer(
                customerID, fields, ifMatch: entityTags, lease: &lease, deadline: deadline)
        }
    }

    public func archive(_ attempt: Attempt, _ credentials: Credentials, _ isArchived: Bool) async -> Reply {
        await change(attempt, credentials, .archived(isArchived))
    }

    public func redact(_ attempt: Attempt, _ credentials: Credentials) async -> Reply {
        await onCustomer(attempt, credentials) { customerID, lease, deadline throws(UnitOfWorkError) in
            try await redactCustomer(customerID, lease: &lease, deadline: deadline)
        }
    }

    public func restore(_ attempt: Attempt, _ credentials: Credentials) async -> Reply {
        await onCustomer(attempt, credentials) { customerID, lease, deadline throws(UnitOfWorkError) in
            try await restoreCustomer(customerID, lease: &lease, deadline: deadline)
        }
    }

    public func delete(_ attempt: Attempt, _ credentials: Credentials) async -> Reply {
        await onCustomer(attempt, credentials) { customerID, lease, deadline throws(UnitOfWorkError) in
            try await deleteCustomer(customerID, lease: &lease, deadline: deadline).finished(customerID: customerID)
        }
    }

    public func delete(_ attempt: Attempt, _ credentials: Credentials, _ request: BulkRequest?) async -> Reply {
        await writePath.reply(to: attempt, credentials) { lease, deadline throws(UnitOfWorkError) in
            guard let request, let key = attempt.idempotencyKey else { throw .leaseLost }
            return try await bulkDelete(request, idempotencyKey: key, lease: &lease, deadline: deadline)
        }
    }

    /// An attempt whose path names a customer. An invalid one never gets as far as its work.
    private func onCustomer(
        _ attempt: Attempt,
        _ credentials: Credentials,
        _ work:
            @Sendable (UUID, inout Lease, ContinuousClock.Instant) async throws(UnitOfWorkError) -> Finished
    ) async -> Reply {
        await writePath.reply(to: attempt, credentials) { lease, deadline throws(UnitOfWorkError) in
            guard let customerID = attempt.customerID else { throw .leaseLost }
            return try await work(customerID, &lease, deadline)
        }
    }
}
