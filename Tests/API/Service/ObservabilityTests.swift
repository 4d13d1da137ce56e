import Foundation
import LibPQ
import TestSupport
import Testing

/// What operators see: metrics, the files made for them, the log, and traces through to the database.
@Suite(
    "Observability",
    .stage([
        "LOG_FORMAT": "json", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "5",
        // The metrics of webhooks are there only where webhooks are.
        "CUSTOMERD_SECRETS_KEY": Stage.webhookSettings["CUSTOMERD_SECRETS_KEY"] ?? "",
    ]), .serialized)
struct ObservabilityTests {
    let stage = Stage.current

    static let files = ["deploy/prometheus/customerd.rules.yml", "deploy/grafana/customerd.json"]

    @Test("the alerts and the dashboard name only metrics that are there", arguments: files)
    func names(file: String) async throws {
        let tenant = try await stage.tenant()
        _ = try await tenant.delete(try await tenant.insert().id)
        let text = try String(contentsOfFile: projectFile(file), encoding: .utf8)

        // It shows when its certificate expires.
        let certificate = try SelfSignedCertificate()
        let files = ["CUSTOMERD_TLS_CERTIFICATE": certificate.certificate, "CUSTOMERD_TLS_KEY": certificate.key]
        let service = try await RunningService.start(on: stage.database, files, trusting: certificate)

        let metrics =
            try await HTTPCall("GET", "/metrics").send(to: service.port, trusting: certificate).body
            + metrics()

        let named = Set(text.matches(of: /\b(?:customerd|db_pool)_[a-z0-9_]+/).map { String($0.output) })
        #expect(named.count >= 8)
        let known = Set(metrics.matches(of: /(?m)^(?:# TYPE )?([a-z_]+)[{ ]/).map { String($0.output.1) })
        #expect(named.subtracting(known).sorted() == [])
    }

    @Test("a deletion is counted, timed and dated")
    func deletion() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let labels = #"method="DELETE",route="/api/v0/customers/{id}""#
        let before = try await value(#"customerd_http_requests_total{\#(labels),status="200"}"#) ?? 0

        #expect(try await tenant.delete(customer.id).status == 200)

        #expect(try await value(#"customerd_http_requests_total{\#(labels),status="200"}"#) ?? 0 >= before + 1)
        #expect(try await value("customerd_http_request_duration_seconds_count{\(labels)}") ?? 0 >= 1)
        #expect(try await value(#"customerd_audit_append_duration_seconds_count{chain="tenants"}"#) ?? 0 >= 1)
        let head = try await value(#"customerd_audit_head_timestamp_seconds{chain="tenants"}"#) ?? 0
        let age = Date().timeIntervalSince1970 - head
        #expect((-1..<60).contains(age))
        #expect(try await value("customerd_audit_lag_seconds") != nil)
        for pool in ["main", "audit", "audit-strangers", "recovery", "readiness"] {
            #expect(try await value("db_pool_in_use{pool=\"\(pool)\"}") != nil)
            #expect(try await value("db_pool_waiting{pool=\"\(pool)\"}") != nil)
        }
    }

    @Test("a finished attempt without its entry shows as lag, until recovery has written it")
    func lagging() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        // Appending to a chain needs its head.
        _ = try await tenant.delete(newID())
        let lock = try await stage.database.begin("SELECT FROM audit.heads WHERE app_id = '\(tenant.app)' FOR UPDATE")
        async let answer = tenant.delete(customer.id)

        try await eventually("the attempt was counted as unrecorded, and its age") {
            let (attempts, age) = try await lag()
            return attempts >= 1 && age > 0
        }
        try await lock.rollBack()

        _ = try await answer
        try await eventually("nothing lagged any more") {
            try await lag() == (0, 0)
        }
        #expect(try await tenant.entries(about: customer.id).map { $0["outcome"] } == ["SUCCEEDED"])
    }

    @Test("the trace of a request is in its entry, in its lines of the log, and in pg_stat_activity while it works")
    func trace() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let trace = newID().replacing("-", with: "")
        let lock = try await stage.database.begin("SELECT FROM customers WHERE id = '\(customer.id)' FOR UPDATE")
        let request = Task {
            // A row isn't waited for as long as a busy machine may take to look.
            while true {
                let traced = [("traceparent", "00-\(trace)-00f067aa0ba902b7-01")]
                let answer = try await tenant.delete(customer.id, headers: traced)
                guard answer.status == 503 else { return answer }
            }
        }
        defer { request.cancel() }

        try await eventually("a session of the database had the trace for its name") {
            try await stage.database.value(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = $1",
                [.text("customerd/\(trace)-00f067aa0ba902b7")]
            ) != nil
        }
        try await lock.rollBack()

        #expect(try await request.value.status == 200)
        #expect(
            try await stage.database.value(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1", [.text("customerd/\(trace)%")]
            ) == "0")
        let entry = try #require(try await tenant.entries(about: customer.id).first)
        #expect(entry.request("headers", "traceparent")?.contains(trace) == true)
        try await eventually("the request was logged with its trace") {
            try log().contains { $0["trace_id"] as? String == trace && $0["status"] as? String == "200" }
        }
    }

    @Test("every line of the log is a JSON object that says when, how grave and what, and nothing about a person")
    func jsonLog() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.lastName = "Unmistakable" })
        let answer = try await tenant.delete(customer.id, headers: [("x-audit-reason", "said \"so\"")])

        // The answer may be here before its line is.
        try await eventually("the request was logged") {
            try log().contains { $0["request_id"] as? String == answer["x-request-id"] }
        }
        let lines = try log()

        #expect(lines.allSatisfy { $0["time"] is String && $0["level"] is String && $0["message"] is String })
        let line = try #require(lines.first { $0["request_id"] as? String == answer["x-request-id"] })
        #expect(line["message"] as? String == "request")
        #expect(line["route"] as? String == "/api/v0/customers/{id}")
        #expect((line["time"] as? String)?.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/) != nil)
        for secret in [customer.id, "Unmistakable", "so\\\"", tenant.key.secret, tenant.key.clientKey] {
            #expect(!stage.service.log.contains(secret), "\(secret)")
        }
    }

    private func lag() async throws -> (attempts: Double, age: Double) {
        let attempts = try #require(try await value("customerd_audit_unrecorded"))
        return (attempts, try #require(try await value("customerd_audit_lag_seconds")))
    }

    private func metrics() async throws -> String {
        try await HTTPCall("GET", "/metrics").send(to: stage.service.port).body
    }

    /// The value of a series.
    private func value(_ series: String) async throws -> Double? {
        try await metrics().split(separator: "\n").first { $0.hasPrefix(series + " ") }
            .flatMap { Double($0.dropFirst(series.count + 1)) }
    }

    private func log() throws -> [[String: Any]] {
        // What is being written isn't a line yet.
        try stage.service.log.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
        }
    }
}
