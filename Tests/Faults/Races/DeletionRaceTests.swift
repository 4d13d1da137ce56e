import TestSupport
import Testing

/// The moment between what a DELETE sees and its receipt, held open by a trigger.
@Suite("A deletion while the customer comes back", .unlimitedStage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct DeletionRaceTests {
    let stage = Stage.current

    @Test("deletes what came in while it looked, since it must not answer 404 about a customer that exists")
    func comesBack() async throws {
        let tenant = try await stage.tenant()
        let customer = CustomerFixture()
        try await stage.database.run(
            """
            CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_advisory_xact_lock(1);
                RETURN NULL;
            END $$;
            CREATE TRIGGER pause BEFORE DELETE ON customers FOR EACH STATEMENT EXECUTE FUNCTION public.pause();
            """)
        let pause = try await stage.database.begin("SELECT pg_advisory_xact_lock(1)")

        async let deletion = tenant.delete(customer.id)
        try await stage.database.waitUntilBlocked()
        try await tenant.insert(customer)
        try await pause.rollBack()
        let answer = try await deletion

        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(try await !tenant.hasCustomer(customer.id))
        #expect(try await tenant.outcomes() == ["SUCCEEDED"])
    }
}
