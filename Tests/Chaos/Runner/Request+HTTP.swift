import ChaosJudge
import Crypto

extension Request {
    /// The method of HTTP.
    var method: String {
        switch self {
        case .delete: "DELETE"
        case .update, .setStatus: "PATCH"
        case .create, .archive, .unarchive, .redact, .restore, .bulkDelete: "POST"
        case .read, .check, .list, .trail: "GET"
        }
    }

    /// Path and query.
    var path: String {
        let customers = "/api/v0/customers"
        return switch self {
        case .create: customers
        case .list: "\(customers)?take=100"
        case .bulkDelete: "\(customers)/bulk-delete"
        case .delete(let id), .update(let id, _), .read(let id): "\(customers)/\(id)"
        case .setStatus(let id, _): "\(customers)/\(id)/status"
        case .archive(let id): "\(customers)/\(id)/archive"
        case .unarchive(let id): "\(customers)/\(id)/unarchive"
        case .redact(let id): "\(customers)/\(id)/redact"
        case .restore(let id): "\(customers)/\(id)/restore"
        case .check(let id): "\(customers)/\(id)/deletion-check"
        case .trail(let id): "/api/v0/audit?customer_id=\(id)&limit=100"
        }
    }

    /// JSON.
    var body: String? {
        switch self {
        case .create(let person): "{\(person.members)}"
        case .update(_, let changes):
            "{"
                + [changes.person?.members, changes.customerType.map { "\"customer_type\":\"\($0)\"" }]
                .compactMap { $0 }.joined(separator: ",") + "}"
        case .setStatus(_, let status): "{\"status\":\"\(status)\"}"
        case .bulkDelete(let ids, let isDryRun):
            "{\"ids\":[\(ids.map { "\"\($0)\"" }.joined(separator: ","))],\"dry_run\":\(isDryRun)}"
        default: nil
        }
    }
}

extension PersonalData {
    fileprivate var members: String {
        """
        "first_name":"\(firstName)","last_name":"\(lastName)","email":"\(email)","phone_number":"\(phoneNumber)"
        """
    }
}

extension CustomerRecord {
    /// As the service makes it: the first half of the SHA-256 of the record.
    var entityTag: String {
        let digest = SHA256.hash(data: Array(text.utf8))
        let digits = digest.prefix(16).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        return "\"\(digits.joined())\""
    }
}
