import TestSupport
import Testing

/// No request can make the service crash, lie, or forget to record.
@Suite("Malformed requests", .stage(["CUSTOMERD_RATE_LIMIT": "10000"]))
struct MalformedRequestTests {
    let stage = Stage.current

    private static let batches = 10
    private static let batch = 25

    @Test("each gets a 4xx of the right form and its entry, and the service keeps working", arguments: 0..<batches)
    func refused(number: Int) async throws {
        let tenant = try await stage.tenant()
        let all = MalformedRequest.generate(count: Self.batches * Self.batch, seed: 20_240_115, tenant: tenant)

        for malformed in all[(number * Self.batch)..<((number + 1) * Self.batch)] {
            let reply = try await send(malformed)
            try await expect(reply, malformed)
        }

        let customer = try await tenant.insert()
        #expect(try await tenant.delete(customer.id).status == 200, "the service still answers")
    }

    private func send(_ malformed: MalformedRequest) async throws -> RawConnection.Reply {
        let connection = try RawConnection(port: stage.service.port)
        await connection.send(malformed.bytes)
        if malformed.isFinished { connection.finish() }
        return await connection.reply()
    }

    private func expect(_ reply: RawConnection.Reply, _ malformed: MalformedRequest) async throws {
        switch (reply, malformed.fate) {
        case (.answer(let answer), let fate):
            #expect((400..<500).contains(answer.status), "\(malformed.name): \(answer)")
            #expect(answer.hasErrorForm, "\(malformed.name): \(answer)")
            if let status = malformed.status { #expect(answer.status == status, "\(malformed.name): \(answer)") }
            let entries = try await stage.database.entries(requestID: malformed.requestID)
            if case .refused(let count) = fate {
                #expect(entries.count == count, "\(malformed.name): \(answer)")
                #expect(count == 0 || answer["x-request-id"] == malformed.requestID, "\(malformed.name): \(answer)")
            }
            #expect(entries.allSatisfy { $0["status_code"] == "\(answer.status)" }, "\(malformed.name)")
        case (.closed, .refusedOrClosed):
            #expect(try await stage.database.entries(requestID: malformed.requestID).isEmpty, "\(malformed.name)")
        case (.closed, _), (.silent, _):
            Issue.record("\(malformed.name): \(reply)")
        }
    }

    @Test("a body of exactly 64 KiB is accepted, in one piece and in chunks")
    func largestBody() async throws {
        let tenant = try await stage.tenant()
        let body = [UInt8](repeating: 0x61, count: 65_536)
        var whole = RawRequest(tenant.deletion(of: newID()))
        whole.headers.append("Content-Length: 65536")
        whole.body = body
        var chunked = RawRequest(tenant.deletion(of: newID()))
        chunked.headers.append("Transfer-Encoding: chunked")
        chunked.body = Array("10000\r\n".utf8) + body + Array("\r\n0\r\n\r\n".utf8)

        for request in [whole, chunked] {
            let connection = try RawConnection(port: stage.service.port)
            await connection.send(request.bytes)
            #expect(await connection.reply().answer?.status == 404)
        }
    }

    @Test("what follows a request on its connection isn't taken for part of it, nor the other way round")
    func smuggling() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let hidden = RawRequest(tenant.deletion(of: customer.id)).text
        var carrier = RawRequest(tenant.deletion(of: newID()))
        carrier.headers.append("Content-Length: \(hidden.utf8.count)")
        carrier.body = Array(hidden.utf8)
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(carrier.bytes)
        let first = await connection.reply()
        let second = await connection.reply(within: .milliseconds(500))

        #expect(first.answer?.status == 404)
        #expect(second.answer == nil, "the body isn't a request")
        #expect(try await tenant.hasCustomer(customer.id))
    }

    @Test(
        "a request with both a length and chunks never leads to a second one",
        arguments: ["chunked", " chunked", "xchunked", "chunked, identity"])
    func bothLengths(coding: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let hidden = RawRequest(tenant.deletion(of: customer.id)).text
        var carrier = RawRequest(tenant.deletion(of: newID()))
        carrier.body = Array("0\r\n\r\n\(hidden)".utf8)
        carrier.headers += ["Content-Length: \(carrier.body.count)", "Transfer-Encoding:\(coding)"]
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(carrier.bytes)
        _ = await connection.reply()
        _ = await connection.reply(within: .milliseconds(500))

        #expect(try await tenant.hasCustomer(customer.id))
    }

    @Test("a body that never comes is given up by the deadline, and leaves the service free")
    func stalledBody() async throws {
        let service = try await stage.secondService([
            "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "1", "CUSTOMERD_POOL_SIZE": "1",
        ])
        let tenant = try await stage.tenant().through(service)
        var stalled: [RawConnection] = []
        for _ in 1...20 {
            var request = RawRequest(tenant.deletion(of: newID()))
            request.headers.append("Content-Length: 10")
            let connection = try RawConnection(port: service.port)
            await connection.send(request.bytes)
            stalled.append(connection)
        }

        let meanwhile = try await tenant.delete(newID())
        var replies: [RawConnection.Reply] = []
        for connection in stalled { replies.append(await connection.reply(within: .seconds(10))) }
        service.terminate()

        #expect(meanwhile.status == 404, "other requests don't wait for the stalled ones")
        #expect(replies.allSatisfy { $0 == .closed || $0.answer?.hasErrorForm == true })
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
    }
}
