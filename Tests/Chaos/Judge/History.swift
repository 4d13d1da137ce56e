/// All that is known of a run: what clients saw, and what was found in the database when everything was quiet.
package struct History: Sendable {
    /// A customer that is still there.
    package struct Remains: Sendable, Hashable {
        package var record: CustomerRecord
        package var isArchived: Bool

        package init(record: CustomerRecord, isArchived: Bool) {
            self.record = record
            self.isArchived = isArchived
        }
    }

    /// What `audit verify` says.
    package struct ChainReport: Sendable, Hashable {
        package var entries: Int
        package var verified: Int
        package var reason: String?

        package init(entries: Int, verified: Int, reason: String?) {
            self.entries = entries
            self.verified = verified
            self.reason = reason
        }
    }

    package var calls: [Call] = []
    package var invoices: [InvoiceChange] = []
    /// The customers that were there from the start.
    package var initial: [Subject: CustomerRecord] = [:]

    /// When a fault was over.
    package var faultsOver: [Instant] = []

    /// When everything was quiet.
    package var ended: Instant = 0
    package var entries: [Entry] = []
    /// By the id of the attempt.
    package var receipts: [String: StoredReceipt] = [:]
    package var remains: [Subject: Remains] = [:]
    package var remainingInvoices: Set<String> = []
    /// Marks of persons anywhere in a dump of the database.
    package var marks: Set<String> = []
    package var chain = ChainReport(entries: 0, verified: 0, reason: nil)

    package init() {}
}
