import TestSupport
import Testing

@Suite("The queue of entries", .stage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "1", "CUSTOMERD_RATE_LIMIT": "100000"]))
struct AppendQueueTests {
    let stage = Stage.current

    @Test("moves again as soon as entries can be written again, though requests keep coming and running out of time")
    func movesAgain() async throws {
        try await stage.database.run(
            """
            CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'not now' USING ERRCODE = 'query_canceled';
            END $$;
            CREATE TRIGGER fail BEFORE INSERT ON audit.entries FOR EACH ROW EXECUTE FUNCTION public.fail();
            """)
        let load = try await Load(tenant: try await stage.tenant(), customers: 400)

        async let run: Void = load.run(clients: 40)
        try await eventually("many appends had failed", within: .seconds(30)) {
            stage.service.log.split(separator: "audit entries can't be appended now").count > 15
        }
        try await stage.database.alter("DROP TRIGGER fail ON audit.entries")
        try await eventually("entries were written again", within: .hang) { load.answered >= 40 }
        try await run

        try await load.expectTruth()
    }
}
