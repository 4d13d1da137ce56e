/// What the model knows of one customer between two operations.
struct CustomerState: Sendable, Hashable {
    enum Life: Sendable, Hashable {
        /// There never was such a customer.
        case unborn
        case living(CustomerRecord, isArchived: Bool)
        case gone
    }

    /// The before-image of the last successful deletion, which a restoration needs.
    enum Image: Sendable, Hashable {
        /// Never deleted.
        case none
        case kept(CustomerRecord, isArchived: Bool)
        case erased
        /// A redaction was under way with the deletion: whether the image was erased with it, only the trail decides.
        case doubtful(CustomerRecord, isArchived: Bool)
    }

    var life: Life
    var image = Image.none
    /// How many refer to the customer.
    var invoices = 0
}

extension CustomerState: CustomStringConvertible {
    var description: String {
        let life =
            switch self.life {
            case .unborn: "not yet there"
            case .living(let record, let isArchived): "\(isArchived ? "archived" : "living") \(record.brief)"
            case .gone: "gone"
            }
        let image =
            switch self.image {
            case .none: "never deleted"
            case .kept: "with an image of its last deletion"
            case .erased: "its image erased"
            case .doubtful: "its image perhaps erased"
            }
        return "\(life), \(invoices) invoices, \(image)"
    }
}
