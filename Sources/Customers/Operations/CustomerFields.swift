/// The members of a customer that a client sets, each of them valid.
struct CustomerFields: Sendable, Hashable {
    /// In the order of the record; an absent member isn't changed, `null` clears it.
    private(set) var members: [JSON.Member]

    var json: JSON {
        .object(members)
    }

    /// Whether the row is archived. No member of the record, so a client can't set it by PATCH.
    static func archived(_ isArchived: Bool) -> CustomerFields {
        CustomerFields(members: [.init(name: "archived", value: .bool(isArchived))])
    }

    private init(members: [JSON.Member]) {
        self.members = members
    }

    /// What may be set by which call.
    enum Form: Sendable {
        /// All required members must be present.
        case new
        /// Any of the members, but at least one.
        case change
        /// `status` alone.
        case status
    }

    /// Reads a body.
    ///
    /// - Throws: what is wrong with it, in a sentence that names the member.
    init(_ body: [UInt8], _ form: Form) throws(Invalidity) {
        let object = try BodyObject(body)
        let rules = form == .status ? Self.rules.filter { $0.name == "status" } : Self.rules
        try object.refuseMembers(otherThan: rules.map(\.name))
        var members: [JSON.Member] = []
        for rule in rules {
            let isRequired = form == .status || form == .new && rule.isRequired
            guard let value = object[rule.name] else {
                if isRequired { throw .body("\(rule.name) is required") }
                continue
            }
            members.append(.init(name: rule.name, value: try rule.checked(value)))
        }
        if members.isEmpty { throw .body("at least one of \(rules.map(\.name).joined(separator: ", ")) is required") }
        self.members = members
    }

    private static let rules: [Rule] = [
        Rule(name: "first_name", isRequired: true, isNullable: false, allowed: .text(1...100)),
        Rule(name: "last_name", isRequired: true, isNullable: false, allowed: .text(1...100)),
        Rule(name: "email", isRequired: false, isNullable: true, allowed: .email(1...255)),
        Rule(name: "phone_number", isRequired: true, isNullable: false, allowed: .text(1...20)),
        Rule(
            name: "status", isRequired: false, isNullable: false,
            allowed: .values(["ACTIVE", "BLACKLISTED", "DEACTIVATED"])),
        Rule(
            name: "customer_type", isRequired: false, isNullable: false,
            allowed: .values([
                "Individual", "Startup", "Small Business", "Medium Business", "Enterprise", "Non-Profit", "Government",
            ])),
    ]

    private struct Rule: Sendable {
        enum Allowed: Sendable {
            /// So many characters, as PostgreSQL counts them, and not only blanks.
            case text(ClosedRange<Int>)
            case email(ClosedRange<Int>)
            case values([String])
        }

        let name: String
        let isRequired: Bool
        let isNullable: Bool
        let allowed: Allowed

        func checked(_ value: JSONReader.Value) throws(Invalidity) -> JSON {
            if case .null = value, isNullable { return .null }
            guard case .string(let text) = value else { throw .body("\(name) must be a string") }
            switch allowed {
            case .text(let range):
                try check(text, range)
                guard !TextRule.isBlank(text) else { throw .text(name: name, "must not be blank") }
            case .email(let range):
                try check(text, range)
                try TextRule.checkEmail(text, of: name)
            case .values(let values):
                guard values.contains(where: { $0.utf8.elementsEqual(text.utf8) }) else {
                    throw .body("\(name) must be one of \(values.joined(separator: ", "))")
                }
            }
            return .string(text)
        }

        private func check(_ text: String, _ range: ClosedRange<Int>) throws(Invalidity) {
            guard range.contains(text.unicodeScalars.count) else {
                throw .body("\(name) must be \(range.lowerBound) to \(range.upperBound) characters")
            }
            try TextRule.check(text, of: name)
        }
    }
}
