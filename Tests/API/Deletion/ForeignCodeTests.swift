import TestSupport
import Testing

/// Code of a stranger that a deletion would reach through a key that acts. Before version 18, PostgreSQL runs some of it as
/// the role that deletes: the service then refuses. All of it counts its runs, and as which role, in sequences, which a
/// rollback doesn't take back.
@Suite("Code of others behind a key that acts", .serialized, .stage(in: .ownCluster()))
struct ForeignCodeTests {
    struct Code: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// The action of the stranger's key.
        var action = "CASCADE"
        /// Makes the code, in schema `stranger`, as the stranger.
        let sql: String

        static let stranger = [
            Code(
                testDescription: "AFTER each row",
                sql: "CREATE TRIGGER t AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION note()"),
            Code(
                testDescription: "AFTER each statement",
                sql: "CREATE TRIGGER t AFTER DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION note()"),
            Code(
                testDescription: "deferred",
                sql: """
                    CREATE CONSTRAINT TRIGGER t AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED
                        FOR EACH ROW EXECUTE FUNCTION note()
                    """),
            Code(
                testDescription: "AFTER an update", action: "SET NULL",
                sql: "CREATE TRIGGER t AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION note()"),
            Code(
                testDescription: "of a deferred constraint's expression", action: "SET NULL",
                sql: """
                    ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING btree (noted(id) WITH =) DEFERRABLE INITIALLY DEFERRED
                    """),
            Code(
                testDescription: "behind a second key",
                sql: """
                    ALTER TABLE t ADD UNIQUE (id);
                    CREATE TABLE deeper (id int REFERENCES t (id) ON DELETE CASCADE);
                    CREATE TRIGGER t AFTER DELETE ON deeper FOR EACH STATEMENT EXECUTE FUNCTION note()
                    """),
            Code(
                testDescription: "on a partition",
                sql: """
                    CREATE TABLE p (app_id uuid NOT NULL, customer_id uuid NOT NULL,
                        FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id) ON DELETE CASCADE)
                        PARTITION BY LIST (app_id);
                    CREATE TABLE p1 PARTITION OF p DEFAULT;
                    CREATE TRIGGER t AFTER DELETE ON p1 FOR EACH ROW EXECUTE FUNCTION note()
                    """),
        ]

        /// What runs with the stranger's own rights, or not at all.
        static let harmless = [
            Code(
                testDescription: "BEFORE each row",
                sql: "CREATE TRIGGER t BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION note()"),
            Code(
                testDescription: "of another event",
                sql: "CREATE TRIGGER t AFTER INSERT OR UPDATE ON t FOR EACH STATEMENT EXECUTE FUNCTION note()"),
            Code(
                testDescription: "disabled",
                sql: """
                    CREATE TRIGGER t AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
                    ALTER TABLE t DISABLE TRIGGER t
                    """),
            Code(
                testDescription: "with its owner's rights",
                sql: """
                    ALTER FUNCTION note() SECURITY DEFINER;
                    CREATE TRIGGER t AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION note()
                    """),
            Code(
                testDescription: "behind a key that refuses", action: "RESTRICT",
                sql: "CREATE TRIGGER t AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION note()"),
        ]
    }

    @Test("never runs with the rights of the service: such a key refuses", arguments: Code.stranger)
    func refused(_ code: Code) async throws {
        let scene = try await Scene(code)
        let runsAsStranger = try await scene.database.value(
            "SELECT current_setting('server_version_num')::int >= 180000")

        let found = try await scene.tenant.ask("GET", "/\(scene.customer)/deletion-check").object
        let answer = try await scene.tenant.delete(scene.customer)
        let doctor = try await scene.doctor()

        #expect(try await scene.timesRun(asStranger: false) == 0)
        if runsAsStranger == "t" {
            #expect(answer.status == 200 && found["deletable"] as? Bool == true)
        } else {
            #expect(answer.status == 400, "\(answer.body)")
            #expect(found["deletable"] as? Bool == false)
            let blockers = found["blockers"] as? [[String: Any]] ?? []
            #expect(blockers.contains { ($0["table"] as? String)?.hasPrefix("stranger.") == true }, "\(blockers)")
            #expect(try await scene.tenant.entries(about: scene.customer).map { $0["outcome"] } == ["REFUSED"])
            #expect(doctor.contains("with the rights of the service"), "\(doctor)")
        }
        try await scene.end()
    }

    @Test("that can't run with the rights of the service changes nothing", arguments: Code.harmless)
    func harmless(_ code: Code) async throws {
        let scene = try await Scene(code)

        let found = try await scene.tenant.ask("GET", "/\(scene.customer)/deletion-check").object
        let answer = try await scene.tenant.delete(scene.customer)

        #expect(try await scene.timesRun(asStranger: false) == 0)
        #expect(answer.status == 200 && found["deletable"] as? Bool == true, "\(answer.body)")
        #expect(try await !scene.doctor().contains("with the rights of the service"))
        try await scene.end()
    }

    /// A stranger's table `stranger.t` with a key on customers, and its code.
    private struct Scene {
        let database: TestDatabase
        let tenant: Tenant
        let customer: String

        init(_ code: Code) async throws {
            let stage = Stage.current
            (database, tenant) = (stage.database, try await stage.tenant())
            customer = try await tenant.insert().id
            // A row that a key that refuses has would refuse; rows aren't needed for the others.
            let row =
                code.action == "RESTRICT" ? "" : "INSERT INTO stranger.t VALUES (1, '\(tenant.app)', '\(customer)')"
            try await database.run(
                """
                CREATE ROLE stranger;
                GRANT REFERENCES ON public.customers TO stranger;
                CREATE SCHEMA stranger AUTHORIZATION stranger;
                GRANT USAGE ON SCHEMA stranger TO PUBLIC;
                SET ROLE stranger;
                SET search_path = stranger;
                CREATE SEQUENCE as_stranger;
                CREATE SEQUENCE as_other;
                GRANT USAGE ON SEQUENCE as_stranger, as_other TO PUBLIC;
                CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN
                        PERFORM stranger.noted(0);
                        RETURN coalesce(NEW, OLD);
                    END $$;
                CREATE FUNCTION noted(id int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
                    BEGIN
                        PERFORM nextval(
                            CASE current_user WHEN 'stranger' THEN 'stranger.as_stranger' ELSE 'stranger.as_other' END);
                        RETURN id;
                    END $$;
                CREATE TABLE t (id int, app_id uuid, customer_id uuid,
                    FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id) ON DELETE \(code.action));
                \(code.sql);
                RESET ROLE;
                \(row);
                SELECT setval('stranger.as_other', 1, false);
                """)
        }

        func end() async throws {
            try await database.run(
                "DROP SCHEMA stranger CASCADE; REVOKE ALL ON public.customers FROM stranger; DROP ROLE stranger")
        }

        func timesRun(asStranger: Bool) async throws -> Int {
            let name = asStranger ? "as_stranger" : "as_other"
            let value = try await database.value(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM stranger.\(name)")
            return Int(value ?? "") ?? -1
        }

        func doctor() async throws -> String {
            let ended = try await Customerd.run(["doctor"], ["DATABASE_URL": database.url()])
            return ended.output + ended.errors
        }
    }
}
