import TestSupport
import Testing

@Suite("SIGTERM", .stage())
struct ShutdownTests {
    let stage = Stage.current

    @Test("what runs is answered and recorded, nothing new is taken, and the exit status is 0")
    func finishes() async throws {
        let service = try await stage.secondService(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"])
        let tenant = try await stage.tenant().through(service)
        let customer = try await tenant.insert()
        let lock = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")

        async let running = tenant.delete(customer.id)
        try await stage.database.waitUntilBlocked()
        service.terminate()
        try await eventually("the port was closed") { (try? RawConnection(port: service.port)) == nil }
        try await lock.rollBack()
        let answer = try await running
        let status = await service.exitStatus(within: .seconds(20))

        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(status == 0)
        #expect(try await tenant.entries().map { $0["outcome"] } == ["SUCCEEDED"])
    }

    @Test("a connection that is idle, or in the middle of a request, doesn't hold it up")
    func idleConnections() async throws {
        let service = try await stage.secondService(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "2"])
        let (idle, half) = (try RawConnection(port: service.port), try RawConnection(port: service.port))
        await idle.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(await idle.reply().answer?.status == 200)
        await half.send("DELETE /api/v0/customers/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")

        service.terminate()

        #expect(await service.exitStatus(within: .seconds(15)) == 0)
        #expect(await idle.reply() == .closed)
    }

    @Test("SIGINT does the same")
    func interrupt() async throws {
        let service = try await stage.secondService()

        service.interrupt()

        #expect(await service.exitStatus(within: .seconds(15)) == 0)
    }
}
