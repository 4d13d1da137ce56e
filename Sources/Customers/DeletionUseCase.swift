/// Deleting a customer on behalf of a client: the write path with `DeleteCustomer` as its unit of work.
public struct DeletionUseCase: Sendable {
    private let writePath: WritePath
    private let deleteCustomer: DeleteCustomer

    public init(writePath: WritePath, deleteCustomer: DeleteCustomer) {
        self.writePath = writePath
        self.deleteCustomer = deleteCustomer
    }

    /// The answer to an attempt; its audit entry is durable by then.
    public func reply(to attempt: Attempt, _ credentials: Credentials) async -> Reply {
        await writePath.reply(to: attempt, credentials) { lease, deadline throws(UnitOfWorkError) in
            guard let customerID = attempt.customerID else { throw .leaseLost }
            return try await deleteCustomer(customerID, lease: &lease, deadline: deadline)
                .finished(customerID: customerID)
        }
    }
}
