import LibPQ

extension Tenant {
    /// A request of this tenant's.
    ///
    /// - Parameters:
    ///   - path: behind `/api/v0/customers`.
    ///   - key: the idempotency key, none when nil.
    ///   - headers: in addition.
    public func ask(
        _ method: String, _ path: String = "", _ body: String? = nil, key: String? = nil,
        headers: [(name: String, value: String)] = []
    ) async throws -> HTTPAnswer {
        let idempotency = key.map { [(name: "idempotency-key", value: $0)] } ?? []
        return try await send(
            HTTPCall(
                method, "/api/v0/customers" + path, headers: self.key.headers + idempotency + headers, body: body))
    }

    public func create(_ body: String, key: String? = nil) async throws -> HTTPAnswer {
        try await ask("POST", "", body, key: key)
    }

    public func read(_ customer: String) async throws -> HTTPAnswer {
        try await ask("GET", "/\(customer)")
    }

    /// - Parameter ifMatch: the header `If-Match`, none when nil.
    public func patch(
        _ customer: String, _ body: String, ifMatch: String? = nil, key: String? = nil
    ) async throws -> HTTPAnswer {
        try await ask(
            "PATCH", "/\(customer)", body, key: key, headers: ifMatch.map { [(name: "if-match", value: $0)] } ?? [])
    }

    public func setStatus(_ customer: String, _ status: String, key: String? = nil) async throws -> HTTPAnswer {
        try await ask("PATCH", "/\(customer)/status", #"{"status":"\#(status)"}"#, key: key)
    }

    /// Archives, unarchives, redacts or restores a customer.
    ///
    /// - Parameter verb: the last part of the path.
    public func post(
        _ verb: String, _ customer: String, key: String? = nil, reason: String? = nil
    ) async throws -> HTTPAnswer {
        try await ask(
            "POST", "/\(customer)/\(verb)", key: key,
            headers: reason.map { [(name: "x-audit-reason", value: $0)] } ?? [])
    }

    public func bulkDelete(
        _ customers: [String], dryRun: Bool? = nil, key: String? = newID(), reason: String? = nil
    ) async throws -> HTTPAnswer {
        let ids = customers.map { "\"\($0)\"" }.joined(separator: ",")
        let flag = dryRun.map { ",\"dry_run\":\($0)" } ?? ""
        return try await ask(
            "POST", "/bulk-delete", "{\"ids\":[\(ids)]\(flag)}", key: key,
            headers: reason.map { [(name: "x-audit-reason", value: $0)] } ?? [])
    }

    /// Begins a large bulk deletion.
    public func startBulk(
        _ customers: [String], dryRun: Bool? = nil, reason: String? = nil, key: String = newID()
    ) async throws -> HTTPAnswer {
        let ids = customers.map { "\"\($0)\"" }.joined(separator: ",")
        let more = (dryRun.map { ",\"dry_run\":\($0)" } ?? "") + (reason.map { ",\"reason\":\"\($0)\"" } ?? "")
        return try await send(
            HTTPCall(
                "POST", "/api/v0/bulk-deletions", headers: self.key.headers + [("idempotency-key", key)],
                body: "{\"ids\":[\(ids)]\(more)}"))
    }

    /// Waits for the end of a large bulk deletion.
    ///
    /// - Returns: its state.
    public func finishBulk(_ path: String, within limit: Duration = .seconds(180)) async throws -> String {
        var state = ""
        try await eventually("the bulk deletion ended", within: limit) {
            state = try await send(HTTPCall("GET", path, headers: key.headers)).body
            return state.contains("\"status\":\"DONE\"")
        }
        return state
    }

    /// The number of customers of the app, archived ones included.
    public func customerCount() async throws -> String? {
        try await database.value("SELECT count(*) FROM customers WHERE app_id = $1", [.text(app)])
    }

    /// What the trail says of the app, oldest first: the outcome of each entry.
    public func outcomes() async throws -> [String?] {
        try await entries().map { $0["outcome"] }
    }
}
