/// What an operation did to a customer, or saw of it: one step of the model.
///
/// Records are sightings: as they were answered, recorded or kept, so perhaps with the personal data erased since then;
/// nil where nothing is left of them.
enum Effect: Sendable, Hashable {
    // Changes
    case created(PersonalData, after: CustomerRecord)
    case deleted(before: CustomerImage?, mayLoseImage: Bool)
    case updated(Request.Changes, before: CustomerImage?, after: CustomerRecord)
    case statusSet(String, before: CustomerImage?, after: CustomerRecord)
    case archived(Bool, before: CustomerImage?, after: CustomerRecord)
    case redacted(after: CustomerRecord)
    case restored(after: CustomerRecord)
    case invoiceAdded
    case invoiceRemoved

    // Sights
    case refused(before: CustomerImage?)
    case absent
    /// No row, and the trail knows of none.
    case unheardOf
    case neverDeleted
    case exists(before: CustomerImage?)
    case notRestorable
    case mismatched(Request.Changes, before: CustomerImage?)
    case read(CustomerRecord)
    case checked(CustomerRecord, invoices: Int)
    case listed(CustomerRecord)
    case unlisted
    case dryRun(before: CustomerRecord)
    case dryRefused
    case invoiceRefusedAsArchived
    case remains(CustomerRecord, isArchived: Bool, invoices: Int)
    case nothingRemains

    /// Whether it leaves the customer as it is.
    var isSight: Bool {
        switch self {
        case .created, .deleted, .updated, .statusSet, .archived, .redacted, .restored, .invoiceAdded,
            .invoiceRemoved:
            false
        default: true
        }
    }
}

extension Effect {
    /// The state after it, nil when it can't have happened in this one.
    func applied(to state: CustomerState) -> CustomerState? {
        switch state.life {
        case .living(let record, let isArchived): applied(to: state, record, isArchived: isArchived)
        case .unborn, .gone: appliedToAbsent(state)
        }
    }

    private func applied(to state: CustomerState, _ record: CustomerRecord, isArchived: Bool) -> CustomerState? {
        var next = state
        switch self {
        case .deleted(let before, let mayLoseImage):
            guard state.invoices == 0, isSighting(before, of: record, isArchived) else { return nil }
            next.life = .gone
            next.image =
                mayLoseImage ? .doubtful(record, isArchived: isArchived) : .kept(record, isArchived: isArchived)
        case .updated(let changes, let before, let after):
            guard isSighting(before, of: record, isArchived), changes.ifMatch.map({ $0 == record }) ?? true else {
                return nil
            }
            var changed = record.updated(at: after.updatedAt)
            if let person = changes.person { changed.carry(person) }
            changed.customerType = changes.customerType ?? changed.customerType
            guard after.isSighting(of: changed), after.isNoOlder(than: record) else { return nil }
            next.life = .living(changed, isArchived: isArchived)
        case .statusSet(let status, let before, let after):
            var changed = record.updated(at: after.updatedAt)
            changed.status = status
            guard
                isSighting(before, of: record, isArchived), after.isSighting(of: changed), after.isNoOlder(than: record)
            else { return nil }
            next.life = .living(changed, isArchived: isArchived)
        case .archived(let willBeArchived, let before, let after):
            let changed = willBeArchived == isArchived ? record : record.updated(at: after.updatedAt)
            guard
                isSighting(before, of: record, isArchived), after.isSighting(of: changed), after.isNoOlder(than: record)
            else { return nil }
            next.life = .living(changed, isArchived: willBeArchived)
        case .redacted(let after):
            let changed = record.isErased ? record : record.erased.updated(at: after.updatedAt)
            guard after == changed, after.isNoOlder(than: record) else { return nil }
            next.life = .living(changed, isArchived: isArchived)
            if state.image != .none { next.image = .erased }
        case .invoiceAdded:
            guard !isArchived else { return nil }
            next.invoices += 1
        case .invoiceRemoved:
            guard state.invoices > 0 else { return nil }
            next.invoices -= 1
        case .refused(let before):
            guard state.invoices > 0, isSighting(before, of: record, isArchived) else { return nil }
        case .exists(let before):
            guard isSighting(before, of: record, isArchived) else { return nil }
        case .mismatched(let changes, let before):
            guard isSighting(before, of: record, isArchived), changes.ifMatch != record else { return nil }
        case .read(let seen):
            guard seen == record else { return nil }
        case .checked(let seen, let invoices):
            guard seen == record, invoices == state.invoices else { return nil }
        case .listed(let seen):
            guard seen == record, !isArchived else { return nil }
        case .unlisted, .invoiceRefusedAsArchived:
            guard isArchived else { return nil }
        case .dryRun(let before):
            guard state.invoices == 0, before.isSighting(of: record) else { return nil }
        case .dryRefused:
            guard state.invoices > 0 else { return nil }
        case .remains(let seen, let isSeenArchived, let invoices):
            guard seen == record, isSeenArchived == isArchived, invoices == state.invoices else { return nil }
        case .created, .restored, .absent, .unheardOf, .neverDeleted, .notRestorable, .nothingRemains:
            return nil
        }
        return next
    }

    private func appliedToAbsent(_ state: CustomerState) -> CustomerState? {
        var next = state
        switch self {
        case .created(let person, let after):
            guard state.life == .unborn, after.carries(person) || after.isErased else { return nil }
            var created = after
            created.carry(person)
            next.life = .living(created, isArchived: false)
        case .redacted(let after):
            guard state.life == .gone, after.isErased else { return nil }
            next.image = .erased
        case .restored(let after):
            switch state.image {
            case .kept(let image, let wasArchived), .doubtful(let image, let wasArchived):
                let restored = image.updated(at: after.updatedAt)
                guard after.isSighting(of: restored), after.isNoOlder(than: image) else { return nil }
                next.life = .living(restored, isArchived: wasArchived)
            case .none, .erased: return nil
            }
        case .neverDeleted:
            guard state.image == .none else { return nil }
        case .notRestorable:
            switch state.image {
            case .erased, .doubtful: break
            case .none, .kept: return nil
            }
        case .unheardOf:
            guard state.life == .unborn else { return nil }
        case .absent, .unlisted, .nothingRemains:
            break
        case .deleted, .updated, .statusSet, .archived, .invoiceAdded, .invoiceRemoved, .refused, .exists,
            .mismatched, .read, .checked, .listed, .dryRun, .dryRefused, .invoiceRefusedAsArchived, .remains:
            return nil
        }
        return next
    }

    private func isSighting(_ seen: CustomerImage?, of record: CustomerRecord, _ isArchived: Bool) -> Bool {
        guard let seen else { return true }
        return seen.record.isSighting(of: record) && seen.isArchived ?? isArchived == isArchived
    }
}

extension CustomerRecord {
    fileprivate mutating func carry(_ person: PersonalData) {
        firstName = person.firstName
        lastName = person.lastName
        email = person.email
        phoneNumber = person.phoneNumber
    }

    fileprivate func carries(_ person: PersonalData) -> Bool {
        var other = self
        other.carry(person)
        return self == other
    }
}
