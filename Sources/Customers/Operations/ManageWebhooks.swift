import LibPQ

extension ReadOperation {
    /// The webhooks of the app, without their secrets.
    static let listWebhooks = ReadOperation("/webhooks", [.manageWebhooks]) { request throws(Invalidity) in
        Query { appID in
            Statement("SELECT service.list_webhooks($1)", [.uuid(appID)])
        } _: { found throws(DatabaseError) in
            Answer(status: 200, body: (["data": .array(found.rows.map { .raw($0[0]) })] as JSON).text)
        }
    }

    static let getWebhook = one(
        "/webhooks/{id}", .manageWebhooks, "SELECT service.list_webhooks($1, $2)"
    ) { row throws(DatabaseError) in
        row?[0].map { Answer(status: 200, body: $0) } ?? APIError.webhookNotFound.answer
    }

    /// The last attempts to deliver, newest first.
    static let listWebhookDeliveries = ReadOperation("/webhooks/{id}/deliveries", [.manageWebhooks]) {
        request throws(Invalidity) in
        let (id, limit) = (
            try request.pathID(), try request.parameters.int("limit", in: WebhookHistory.limits, default: 100)
        )
        return Query { appID in
            Statement("SELECT service.list_webhook_deliveries($1, $2, $3)", [.uuid(appID), .uuid(id), .int(limit)])
        } _: { found throws(DatabaseError) in
            guard let row = found.rows.first else {
                return APIError.webhookNotFound.answer
            }
            return Answer(status: 200, body: "{\"data\":[\(row[0] ?? "")]}")
        }
    }

    /// Sends an event of type `ping`, once, and tells what came of it. It isn't of the trail, and nothing waits for it.
    static let pingWebhook = ReadOperation(method: "POST", "/webhooks/{id}/ping", [.manageWebhooks], .ping)
}

enum WebhookHistory {
    /// Attempts that are kept of each webhook, and so may be asked for.
    static let limits = 1...1000
}

extension Read {
    func ping(_ operation: ReadOperation, _ request: APIRequest) async -> Answer {
        let plan: Result<(id: UUID, sender: WebhookSender), Invalidity> = Result { () throws(Invalidity) in
            guard let sender = webhooks else { throw .webhooksAreOff }
            return (id: try request.pathID(), sender: sender)
        }
        return await answer(operation, request, plan) { plan, caller, _ throws(DatabaseError) in
            let look = Statement(
                "SELECT url, secret, previous_secret, now FROM service.webhook_to_ping($1, $2)",
                [.uuid(caller.appID), .uuid(plan.id)])
            let found = try await pool.withConnection(for: caller.appID, deadline: request.deadline) {
                connection throws(DatabaseError) in try await connection.query(look, deadline: request.deadline)
            }
            guard let row = found.rows.first else { return APIError.webhookNotFound.answer }
            let (eventID, now): (UUID, String) = (.random(), try row.get("now"))
            let event: JSON = [
                "type": "ping", "id": .string(eventID.text), "occurred_at": .string(now),
                "app_id": .string("app_\(caller.appID.text)"), "customer_id": nil, "actor": .string(caller.name),
                "request_id": .string(request.context.requestID),
            ]
            let target = plan.sender.target(
                of: caller.appID, url: try row.get("url"), secret: try row.get("secret"),
                previous: row.bytes("previous_secret"))
            var connection: WebhookConnection?
            let result = await plan.sender.send(event.text, id: eventID, to: target, over: &connection)
            connection?.close()
            let history = JSON.array([result.json(seq: nil, id: eventID, type: "ping", attempt: 1)])
            let note = Statement(
                "SELECT service.note_deliveries($1, $2, $3)",
                [.uuid(caller.appID), .uuid(plan.id), .text(history.text)])
            let deadline = max(request.deadline, .now + .seconds(2))
            _ = try await pool.withConnection(for: caller.appID, deadline: deadline) {
                connection throws(DatabaseError) in try await connection.perform(note, deadline: deadline)
            }
            let delivery: JSON = [
                "seq": nil, "id": .string(eventID.text), "type": "ping", "attempt": .int(1),
                "status_code": .int(result.status), "error": .string(result.error),
                "duration_ms": .int(result.duration.milliseconds), "at": .string(now),
            ]
            return Answer(status: 200, body: delivery.text)
        }
    }
}

/// `POST /webhooks`, and what changes one: the SQL is in sql/functions/webhooks.sql and webhook_secrets.sql.
struct ManageWebhooks: Sendable {
    let unitOfWork: UnitOfWork
    /// nil when the service has no key for secrets.
    let secrets: SecretBox?
    let addresses: WebhookAddresses

    func create(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        guard let secrets else { throw .webhooksAreOff }
        let fields = try WebhookFields(request.body, .new, addresses)
        // Made once an attempt, so that running the unit of work again makes the same webhook.
        let id = UUID.random()
        return WriteOperation.Plan(in: unitOfWork, body: request.body) { lease throws(WriteError) in
            let sealed = try Self.seal(secrets, lease)
            return Statement(
                """
                WITH created AS MATERIALIZED (
                    SELECT service.create_webhook($1, $2, $4, $5, $6, $7) AS webhook)
                SELECT receipt.*
                FROM created AS c
                CROSS JOIN LATERAL service.finish(
                    $1, $3, CASE WHEN c.webhook IS NULL THEN 'CONFLICT' ELSE 'CREATED' END::service.ending,
                    coalesce(left(c.webhook, -1) || $8, $9), NULL,
                    CASE WHEN c.webhook IS NOT NULL THEN jsonb_build_object('webhook', $2::uuid) END) AS receipt
                """,
                [
                    .uuid(lease.appID), .uuid(id), .uuid(lease.attemptID), .text(fields.url),
                    fields.types.map { Parameter.array($0) } ?? .null, .text(fields.description), .bytes(sealed),
                    .text(SecretBox.member(sealed) + "}"), .text(APIError.tooManyWebhooks.answer.body),
                ])
        }
    }

    func change(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let fields = try WebhookFields(request.body, .change, addresses)
        return try plan(
            request, "service.change_webhook($1, $2, $4)",
            telling: [.init(name: "changes", value: .array(fields.members.map { .string($0.name) }))]
        ) { _ in [.text(JSON.object(fields.members).text)] }
    }

    func rotateSecret(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        guard let secrets else { throw .webhooksAreOff }
        let overlap = try WebhookNumber.overlap.value(request.body)
        return try plan(
            request, "left(service.rotate_webhook_secret($1, $2, $4, make_interval(secs => $5)), -1) || $6"
        ) { lease throws(WriteError) in
            let sealed = try Self.seal(secrets, lease)
            return [.bytes(sealed), .int(overlap), .text(SecretBox.member(sealed) + "}")]
        }
    }

    func replay(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let after = try WebhookNumber.after.value(request.body)
        return try plan(
            request, "service.replay_webhook($1, $2, $4)", telling: [.init(name: "after", value: .int(after))]
        ) { _ in [.int(after)] }
    }

    func delete(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        try plan(request, "CASE WHEN service.delete_webhook($1, $2) THEN '' END", hasBody: false, success: "EMPTY")
    }

    // MARK: -

    /// - Parameters:
    ///   - change: SQL that answers with the body, or NULL when there is no such webhook. `$1` is the app, `$2` the
    ///     webhook; the parameters begin at `$4`.
    ///   - members: what the entry's request tells of it besides the webhook.
    ///   - success: a value of `service.ending`.
    private func plan(
        _ request: APIRequest, _ change: String, hasBody: Bool = true, telling members: [JSON.Member] = [],
        success: String = "SUCCEEDED",
        _ parameters: @escaping @Sendable (Lease) throws(WriteError) -> [Parameter] = { _ in [] }
    ) throws(Invalidity) -> WriteOperation.Plan {
        let id = try request.pathID()
        let told = JSON.object([.init(name: "webhook", value: .string(id.text))] + members)
        let body = Self.identified(id, hasBody ? request.body : [])
        return WriteOperation.Plan(in: unitOfWork, body: body) { lease throws(WriteError) in
            let parameters = try parameters(lease)
            let next = parameters.count + 4
            return Statement(
                """
                WITH changed AS MATERIALIZED (
                    SELECT \(change) AS body)
                SELECT receipt.*
                FROM changed AS c
                CROSS JOIN LATERAL service.finish(
                    $1, $3, CASE WHEN c.body IS NULL THEN 'NOT_FOUND' ELSE '\(success)' END::service.ending,
                    coalesce(c.body, $\(next)), NULL, $\(next + 1)::jsonb) AS receipt
                """,
                [.uuid(lease.appID), .uuid(id), .uuid(lease.attemptID)] + parameters
                    + [.text(APIError.webhookNotFound.answer.body), .text(told.text)])
        }
    }

    private static func seal(_ secrets: SecretBox, _ lease: Lease) throws(WriteError) -> [UInt8] {
        do { return try secrets.seal(.random(), for: lease.appID) } catch { throw .failed(error) }
    }

    /// What makes two requests the same: the webhook that the path names, too.
    private static func identified(_ id: UUID, _ body: [UInt8]) -> [UInt8] {
        let body = body.isEmpty ? JSON.null : .raw(String(decoding: body, as: UTF8.self))
        return Array((["webhook": .string(id.text), "body": body] as JSON).text.utf8)
    }
}

/// A number that is the only member of a body.
private struct WebhookNumber {
    let name: String
    let range: ClosedRange<Int>
    /// nil where the member is required.
    let absent: Int?

    static let overlap = WebhookNumber(name: "overlap_seconds", range: 0...86_400, absent: 0)
    static let after = WebhookNumber(name: "after", range: EventSearch.places, absent: nil)

    func value(_ body: [UInt8]) throws(Invalidity) -> Int {
        if let absent, body.isEmpty { return absent }
        let object = try BodyObject(body)
        try object.refuseMembers(otherThan: [name])
        guard let value = object[name] else {
            guard let absent else { throw .body("\(name) is required") }
            return absent
        }
        guard case .number(let text) = value, let number = Self.whole(text), range.contains(number) else {
            throw .body("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// A whole number however JSON spells it: `60`, `60.0`, `6e1`. None of the ranges is beyond what a double holds exactly.
    private static func whole(_ text: String) -> Int? {
        Int(text) ?? Double(text).flatMap { Int(exactly: $0) }
    }
}

/// The members of a webhook that a client sets, each of them valid.
struct WebhookFields: Sendable {
    enum Form {
        case new
        /// Any of the members, but at least one.
        case change
    }

    private static let longestDescription = 500

    private(set) var url: String?
    /// nil for all of them.
    private(set) var types: [String]?
    private(set) var description: String?
    /// The members that were given, for a change.
    let members: [JSON.Member]

    init(_ body: [UInt8], _ form: Form, _ addresses: WebhookAddresses) throws(Invalidity) {
        let object = try BodyObject(body)
        let known = ["url", "types", "description"] + (form == .change ? ["status"] : [])
        try object.refuseMembers(otherThan: known)
        var members: [JSON.Member] = []
        if let value = object["url"] {
            guard case .string(let text) = value else { throw .body("url must be a string") }
            try addresses.check(try WebhookURL(text))
            url = text
            members.append(.init(name: "url", value: .string(text)))
        } else if form == .new {
            throw .body("url is required")
        }
        if let value = object["types"] {
            types = try Self.types(value)
            members.append(.init(name: "types", value: types.map { JSON.array($0.map { JSON.string($0) }) } ?? .null))
        }
        if let value = object["description"] {
            description = try Self.description(value)
            members.append(.init(name: "description", value: .string(description)))
        }
        if let value = object["status"] {
            guard case .string(let text) = value, ["ENABLED", "DISABLED"].contains(text) else {
                throw .body("status must be one of ENABLED, DISABLED")
            }
            members.append(.init(name: "status", value: .string(text)))
        }
        if members.isEmpty { throw .body("at least one of \(known.joined(separator: ", ")) is required") }
        self.members = members
    }

    private static func types(_ value: JSONReader.Value) throws(Invalidity) -> [String]? {
        if case .null = value { return nil }
        let rule = Invalidity.body("types must be a list of \(Event.types.joined(separator: ", ")), each at most once")
        guard case .array(let elements) = value, !elements.isEmpty else { throw rule }
        var types: [String] = []
        for element in elements {
            guard case .string(let type) = element, Event.types.contains(type), !types.contains(type) else {
                throw rule
            }
            types.append(type)
        }
        return types
    }

    private static func description(_ value: JSONReader.Value) throws(Invalidity) -> String? {
        if case .null = value { return nil }
        guard case .string(let text) = value else { throw .body("description must be a string") }
        guard text.unicodeScalars.count <= longestDescription else {
            throw .body("description must be at most \(longestDescription) characters")
        }
        try TextRule.check(text, of: "description")
        return text
    }
}
