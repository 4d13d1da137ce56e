import TestSupport
import Testing

/// Requests at random, well-formed ones and broken ones. Each has a limit on the processor time that it may cost: the
/// service runs on one thread, so that a costly request delays all others.
@Suite("Requests at random", .unlimitedStage())
struct FuzzTests {
    let stage = Stage.current

    @Test("none stops the service, is answered with a 500, or costs as much as twenty ordinary ones")
    func random() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let ordinary = try await costOfOrdinaryRequests(tenant)
        var statuses: [String: Int] = [:]
        var costliest: (cost: Duration, seed: UInt64) = (.zero, 0)

        let count = try await Fuzzing.run { seed in
            let request = FuzzedRequest(seed: seed, tenant, customer)
            let before = stage.service.processorTime
            let connection = try RawConnection(port: stage.service.port)
            await connection.send(request.bytes)
            connection.finish()
            let reply = await connection.reply()
            let cost = stage.service.processorTime - before

            switch reply {
            case .answer(let answer):
                #expect((200..<500).contains(answer.status) || answer.status == 503, "seed \(seed): \(answer)")
                #expect(
                    answer.status < 400 || request.isHead || answer.hasErrorForm,
                    "seed \(seed): \(answer)")
                statuses["\(answer.status)", default: 0] += 1
            case .closed: statuses["closed", default: 0] += 1
            case .silent: Issue.record("seed \(seed): no answer to \(request.text)")
            }
            #expect(cost < ordinary * 20, "seed \(seed) took \(cost), an ordinary request \(ordinary): \(request.text)")
            if cost > costliest.cost { costliest = (cost, seed) }
        }

        print("\(count) requests at random: \(statuses.sorted { $0.key < $1.key }.map { "\($0.value) × \($0.key)" })")
        print("the costliest took \(costliest.cost) (seed \(costliest.seed)), an ordinary one \(ordinary)")
        #expect(try await tenant.delete(try await tenant.insert().id).status == 200)
    }

    /// The mean processor time of a deletion that finds no customer.
    private func costOfOrdinaryRequests(_ tenant: Tenant) async throws -> Duration {
        let rounds = 20
        _ = try await tenant.delete(newID())
        let before = stage.service.processorTime
        for _ in 1...rounds { _ = try await tenant.delete(newID()) }
        return (stage.service.processorTime - before) / rounds
    }
}

/// A request made of what means something to the service, two times out of three with some bytes changed.
private struct FuzzedRequest {
    let bytes: [UInt8]
    let isHead: Bool

    var text: String { String(decoding: bytes.prefix(2_000), as: UTF8.self) }

    init(seed: UInt64, _ tenant: Tenant, _ customer: CustomerFixture) {
        var generator = SeededGenerator(seed: seed)
        let body = Self.body(&generator, customer)
        var request = RawRequest(
            line: Self.line(&generator, customer), headers: Self.headers(&generator, tenant), body: body)
        if generator.below(4) == 0 {
            request.headers.append("Transfer-Encoding: chunked")
            request.body = Self.chunks(body, &generator)
        } else if !body.isEmpty || generator.below(4) == 0 {
            request.headers.append("Content-Length: \(body.count)")
        }
        isHead = request.line.hasPrefix("HEAD ")
        let meaningful = Array("\r\n\r\n :;,/%?&=\"\\{}[]-0123456789aAfFtT\t".utf8) + [0, 0x7f, 0x80, 0xc3, 0xff]
        bytes =
            generator.below(3) == 0
            ? request.bytes : generator.mutation(of: request.bytes, with: meaningful)
    }

    private static func line(_ generator: inout SeededGenerator, _ customer: CustomerFixture) -> String {
        let id = generator.pick([customer.id, newID(), customer.id.uppercased(), "x", "..", "%2e%2e", ""])
        let route = generator.pick([
            "DELETE /{id}", "GET /{id}", "GET ", "POST ", "PATCH /{id}", "PATCH /{id}/status", "POST /{id}/archive",
            "POST /{id}/unarchive", "POST /{id}/redact", "POST /{id}/restore", "POST /bulk-delete",
            "GET /{id}/deletion-check", "GET /{id}/invoices", "GET /{id}/transactions", "GET /{id}/export",
            "HEAD /{id}", "OPTIONS /{id}", "PUT /{id}", "GET //{id}", "GET /{id}/",
        ])
        let path = generator.pick([
            "/api/v0/customers", "/api/v0/customers", "/api/v0/customers", "/api/v0/customers", "/api/v0/audit", "/x",
            "",
        ])
        let target = route.replacing(" ", with: " \(path)").replacing("{id}", with: id)
        let value = generator.pick([
            "0", "1", "-1", "100", "99999999999999999999", "%", "%00", "%C3%28", "a%2Cb", "", "x", "+", "%F0%9F%98%80",
            String(repeating: "a", count: generator.below(3_000)),
        ])
        let name = generator.pick([
            "skip", "take", "status", "name", "email", "customer_id", "from", "cursor", "limit", "x",
        ])
        let query = generator.below(2) == 0 ? "" : "?\(name)=\(value)"
        return "\(target)\(query) HTTP/1.\(generator.pick([1, 1, 1, 1, 0]))"
    }

    private static func headers(_ generator: inout SeededGenerator, _ tenant: Tenant) -> [String] {
        var headers = ["Host: 127.0.0.1"]
        switch generator.below(3) {
        case 0: headers += ["x-client-key: \(tenant.key.clientKey)", "x-client-secret: \(tenant.key.secret)"]
        case 1: headers += ["x-client-key: \(tenant.key.clientKey)", "x-client-secret: \(newID())"]
        default: break
        }
        if generator.below(3) > 0 { headers.append("idempotency-key: \(newID())") }
        let values = [
            "*", "\"a\"", "W/\"a\"", "a, b", "\u{e9}", "=\"", ",,,,", "close", "keep-alive, close", "100-continue",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "10.0.0.1, ::1",
            String(repeating: "\u{315}\u{300}", count: generator.below(800)),
        ]
        for _ in 0..<generator.below(4) {
            let name = generator.pick([
                "If-Match", "If-None-Match", "Connection", "Accept", "traceparent", "x-request-id", "x-actor-id",
                "x-audit-reason", "X-Forwarded-For", "Content-Type", "User-Agent", "Cookie",
            ])
            headers.append("\(name): \(generator.pick(values))")
        }
        if generator.below(10) == 0 {
            headers.append(generator.pick(["Host: x", "Expect: 100-continue", "Expect: x"]))
        }
        return headers
    }

    private static func body(_ generator: inout SeededGenerator, _ customer: CustomerFixture) -> [UInt8] {
        let units = [
            "[", "{\"a\":", "\"", "\\u", "\"\\ud83d\\ude00\",", "{\"ids\":[", "0,", "\u{315}\u{300}", "\u{200b}", " ",
        ]
        let texts = [
            "",
            #"{"first_name":"A","last_name":"B","phone_number":"1","email":"a@b.example"}"#,
            #"{"first_name":"\#(generator.pick(units))","last_name":"\u202e","phone_number":"\u0000"}"#,
            #"{"status":"BLACKLISTED"}"#, #"{"status":null}"#,
            #"{"ids":["\#(newID())","\#(customer.id)"],"dry_run":true}"#,
            #"{"ids":["\#(newID())"],"dry_run":false,"dry_run":true}"#,
            #"{"email":"\#(String(repeating: "a", count: generator.below(400)))@\#(generator.pick(units))"}"#,
            String(repeating: generator.pick(units), count: generator.below(4_000)),
            #"{"ids":["# + String(repeating: generator.pick(units), count: generator.below(4_000)),
        ]
        return Array(generator.pick(texts).utf8)
    }

    private static func chunks(_ body: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
        var rest = body[...]
        var chunks: [UInt8] = []
        while !rest.isEmpty {
            let chunk = rest.prefix(1 + generator.below(rest.count))
            rest = rest.dropFirst(chunk.count)
            let end = generator.pick(["\r\n", "\r\n", "\r\n", ";x=\"y\"\r\n"])
            chunks += Array("\(String(chunk.count, radix: 16))\(end)".utf8) + chunk + Array("\r\n".utf8)
        }
        return chunks + Array("0\r\n\r\n".utf8)
    }
}
