import Foundation
import LibPQ
import TestSupport
import Testing

/// Times that lie in the future, as they do after the database's clock has stepped back.
@Suite("A clock that stepped back", .serialized, .stages)
struct ClockTests {
    @Test("shuts no key out: a rate window that opens in the future is over")
    func rateWindow() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "3"])
        let tenant = try await stage.tenant()
        for _ in 1...4 { _ = try await tenant.delete(newID()) }
        try await stage.database.rows(
            "UPDATE service.rate_windows SET opened_at = now() + interval '1 hour' WHERE app_id = $1",
            [.text(tenant.app)])

        let answer = try await tenant.delete(newID())

        #expect(answer.status == 404)
        #expect(answer["x-ratelimit-remaining"] == "2")
        let reset = answer["x-ratelimit-reset"].flatMap { Double($0) } ?? 0
        let now = try await stage.database.value("SELECT extract(epoch FROM now())").flatMap { Double($0) } ?? 0
        #expect(reset <= now + 61)
    }

    @Test("keeps no idempotency key: a lease of an attempt that began in the future is over")
    func lease() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000"], failpoints: try Failpoints())
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        try stage.failpoints.arm("admitted")
        async let first = tenant.delete(customer.id, idempotencyKey: key)
        try await stage.failpoints.reach("admitted")
        try await stage.database.rows(
            """
            UPDATE service.attempts
            SET admitted_at = admitted_at + interval '1 hour', lease_expires_at = lease_expires_at + interval '1 hour'
            WHERE idempotency_key = $1
            """, [.text(key)])

        let second = try await tenant.delete(customer.id, idempotencyKey: key)
        stage.failpoints.resume("admitted")

        #expect(second.status == 200)
        #expect(try await first.status == 503)
        try await eventually("both are in the trail") {
            try await Set(tenant.outcomes()) == ["SUCCEEDED", "INTERRUPTED"]
        }
    }

    @Test("changes nothing for requests that begin one after the other within a window")
    func concurrency() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "50"])

        for _ in 1...3 {
            let tenant = try await stage.tenant()
            let answers = try await simultaneously(80) { _ in try await tenant.delete(newID()) }
            #expect(answers.count { $0.status == 404 } == 50)
            #expect(answers.compactMap { $0["retry-after"].flatMap { Int($0) } }.allSatisfy { (1...60).contains($0) })
        }
    }
}

/// All instances share one clock, that of the database: a machine whose own clock is wrong writes no wrong time.
@Suite("A service whose clock is wrong", .serialized, .stages)
struct WrongClockTests {
    /// In front of the C library: the time of day, so many seconds off.
    private static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <time.h>
        #include <sys/time.h>

        int clock_gettime(clockid_t clock, struct timespec *time) {
            static int (*real)(clockid_t, struct timespec *);
            if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
            int status = real(clock, time);
            if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) time->tv_sec += OFFSET;
            return status;
        }

        int gettimeofday(struct timeval *restrict day, void *restrict zone) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            day->tv_sec = now.tv_sec;
            day->tv_usec = now.tv_nsec / 1000;
            return 0;
        }

        time_t time(time_t *seconds) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (seconds) *seconds = now.tv_sec;
            return now.tv_sec;
        }
        """

    /// Such a library; nil without a compiler, or where the program takes nothing in front of what it is linked with.
    private static func library(offset: Int) async throws -> String? {
        let handle = try FileHandle(forReadingFrom: Customerd.binary)
        defer { try? handle.close() }
        guard let head = try handle.read(upToCount: 4096), head.range(of: Data("ld-linux".utf8)) != nil else {
            return nil
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "clock-\(newID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let (code, library) = (folder.appending(path: "clock.c"), folder.appending(path: "clock.so"))
        try source.write(to: code, atomically: true, encoding: .utf8)
        let arguments = ["-shared", "-fPIC", "-DOFFSET=\(offset)L", "-o", library.path, code.path, "-ldl"]
        let compiler = try? ChildProcess(["/usr/bin/env", "cc"] + arguments, environment: Customerd.environment([:]))
        guard let compiler, await compiler.exitStatus(within: .seconds(60)) == 0 else { return nil }
        return library.path
    }

    @Test("stores no time of its own, whatever it does", arguments: [-109, 109])
    func stores(years: Int) async throws {
        guard let library = try await Self.library(offset: years * 31_557_600) else { return }
        defer { try? FileManager.default.removeItem(at: URL(fileURLWithPath: library).deletingLastPathComponent()) }
        let settings = [
            "LD_PRELOAD": library, "CUSTOMERD_RATE_LIMIT": "40", "CUSTOMERD_RESTORE_DAYS": "30",
            "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25",
        ]
        let stage = try await Stage.open(settings)
        let tenant = try await stage.tenant()
        let (one, two, blocked) = (try await tenant.insert(), try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: blocked.id)
        let year = Calendar(identifier: .gregorian).component(.year, from: .now) + years
        let wrongYears = [year - 1, year, year + 1].map { String($0) }

        let answers = [
            try await tenant.post("archive", one.id), try await tenant.post("unarchive", one.id),
            try await tenant.patch(one.id, #"{"last_name":"Second"}"#), try await tenant.delete(one.id),
            try await tenant.post("restore", one.id), try await tenant.post("redact", one.id),
            try await tenant.delete(blocked.id), try await tenant.delete("no-uuid"),
            try await tenant.bulkDelete([two.id, newID()]), try await tenant.ask("GET", "/\(blocked.id)/export"),
        ]
        for _ in 1...160 { _ = try await tenant.delete(newID()) }
        for _ in 1...30 { _ = try await HTTPCall("DELETE", "/api/v0/customers/x").send(to: stage.service.port) }
        _ = try await Customerd.succeed(
            ["keys", "create", "--app", tenant.app, "--role", "admin", "--name", "n"],
            ["DATABASE_URL": stage.database.url(), "LD_PRELOAD": library])
        try await eventually("floods were counted") {
            try await stage.database.value("SELECT count(*) FROM service.floods WHERE folded > 5") == "2"
        }

        #expect(answers.map(\.status) == [200, 200, 200, 200, 200, 200, 400, 400, 200, 200])
        let date = answers[0]["date"] ?? ""
        #expect(wrongYears.contains { date.contains(" \($0) ") }, "its clock is wrong: \(date)")
        let dump = try await stage.database.dump()
        let times = dump.matches(of: /[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:/).map { String($0.output) }
        #expect(times.count > 100)
        #expect(times.filter { time in wrongYears.contains { time.hasPrefix($0) } } == [])
    }
}
