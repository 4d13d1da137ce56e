/// An invoice that was added or removed by SQL, past the service.
package struct InvoiceChange: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        case add
        case remove
    }

    package enum Outcome: Sendable, Hashable {
        case done
        /// The foreign key found no customer.
        case refusedAsMissing
        /// The customer takes no new records.
        case refusedAsArchived
        /// The session was lost; what is left at the end tells.
        case unknown
    }

    package var subject: Subject
    package var invoice: String
    package var kind: Kind
    package var invoked: Instant
    package var returned: Instant
    package var outcome: Outcome

    package init(
        subject: Subject, invoice: String, kind: Kind, invoked: Instant, returned: Instant, outcome: Outcome
    ) {
        self.subject = subject
        self.invoice = invoice
        self.kind = kind
        self.invoked = invoked
        self.returned = returned
        self.outcome = outcome
    }
}
