import Foundation
import Testing

@testable import Customers
@testable import TestSupport

@Suite("Memory")
struct MemoryTests {
    /// How much more ten times as many entries may take, in KiB; the entries themselves are four times that.
    private static let allowance = 2048

    @Test(
        "export and verification take as much memory for 5,000 entries as for 500",
        .enabled(if: ProcessFigures.tellOfMemory, "AddressSanitizer keeps what was freed"))
    func constant() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(500, customers: 100)
        let place = try TemporaryDirectory()
        let short = try await peaks(fixture, place)
        // Chains that are broken are read like others, and made in no time.
        try await fixture.alter(
            """
            INSERT INTO audit.entries
            SELECT (jsonb_populate_record(e, jsonb_build_object('app_id', md5('app ' || n), 'id', gen_random_uuid()))).*
            FROM audit.entries AS e, generate_series(1, 9) AS n
            """
        )
        let long = try await peaks(fixture, place)
        try await fixture.drop()
        for (name, before) in short {
            let after = try #require(long[name])
            print("\(name): \(before) KiB at 500 entries, \(after) KiB at 5,000")
            #expect(after - before < Self.allowance, "\(name)")
        }
    }

    /// The peak memory of each command in KiB.
    private func peaks(_ fixture: TrailFixture, _ place: TemporaryDirectory) async throws -> [String: Int] {
        let environment = "DATABASE_URL=\(fixture.database.url())"
        let export = try await Customerd.succeed(["audit", "export"], ["DATABASE_URL": fixture.database.url()])
        let path = try place.write("export", export)
        let customerd = Customerd.path
        return [
            "audit export": try await peak(["env", environment, customerd, "audit", "export"]),
            "audit verify": try await peak(["env", environment, customerd, "audit", "verify"]),
            "audit verify --export": try await peak([customerd, "audit", "verify", "--export", path]),
            "verify-audit.py": try await peak(["python3", projectFile("scripts/verify-audit.py"), path]),
        ]
    }

    private func peak(_ arguments: [String]) async throws -> Int {
        let script = """
            import resource, subprocess, sys
            subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
            print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
            """
        let output = try await Program.succeed(["python3", "-c", script] + arguments)
        return try #require(Int(output.trimmingCharacters(in: .newlines)))
    }
}
