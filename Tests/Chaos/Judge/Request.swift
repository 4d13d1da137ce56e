/// What a client asks for.
package enum Request: Sendable, Hashable {
    case create(PersonalData)
    case delete(String)
    case update(String, Changes)
    case setStatus(String, String)
    case archive(String)
    case unarchive(String)
    case redact(String)
    case restore(String)
    case bulkDelete([String], isDryRun: Bool)
    case read(String)
    case check(String)
    case list
    /// The audit entries of a customer.
    case trail(String)

    package struct Changes: Sendable, Hashable {
        /// Becomes both names, email and phone number; nil leaves them.
        package var person: PersonalData?
        package var customerType: String?
        /// `If-Match`: the record whose tag is sent.
        package var ifMatch: CustomerRecord?

        package init(person: PersonalData? = nil, customerType: String? = nil, ifMatch: CustomerRecord? = nil) {
            self.person = person
            self.customerType = customerType
            self.ifMatch = ifMatch
        }
    }

    /// As the trail names it; nil for what only reads.
    package var action: String? {
        switch self {
        case .create: "customer.create"
        case .delete: "customer.delete"
        case .update: "customer.update"
        case .setStatus: "customer.status"
        case .archive: "customer.archive"
        case .unarchive: "customer.unarchive"
        case .redact: "customer.redact"
        case .restore: "customer.restore"
        case .bulkDelete: "customer.bulk-delete"
        case .read, .check, .list, .trail: nil
        }
    }

    /// For people.
    package var name: String {
        switch self {
        case .bulkDelete(_, isDryRun: true): "dry run"
        case .read: "read"
        case .check: "deletion-check"
        case .list: "list"
        case .trail: "audit"
        default: action.map { String($0.dropFirst("customer.".count)) } ?? ""
        }
    }

    package var customer: String? {
        switch self {
        case .delete(let id), .update(let id, _), .setStatus(let id, _), .archive(let id), .unarchive(let id),
            .redact(let id), .restore(let id), .read(let id), .check(let id), .trail(let id):
            id
        case .create, .bulkDelete, .list: nil
        }
    }

    /// The person whose data the body carries.
    var person: PersonalData? {
        switch self {
        case .create(let person): person
        case .update(_, let changes): changes.person
        default: nil
        }
    }
}
