import Foundation
import TestSupport
import Testing

/// Names can't be hijacked: a role that may create objects in schema public never has its code run by a command or by the start of
/// the service. For every function and operator that our SQL calls by an unqualified name there is a better match.
@Suite("Hijacked names")
struct HijackTests {
    private static let root = URL(fileURLWithPath: projectFile("."))

    /// Every word before a parenthesis in the SQL files and in the sources, which hold the rest of the SQL.
    private static func calledNames() throws -> Set<String> {
        var names: Set<String> = []
        for folder in ["sql", "Sources"] {
            let files = FileManager.default.enumerator(
                at: root.appendingPathComponent(folder), includingPropertiesForKeys: nil)
            while let file = files?.nextObject() as? URL {
                guard ["sql", "swift"].contains(file.pathExtension) else { continue }
                let text = try String(contentsOf: file, encoding: .utf8)
                for match in text.matches(of: /(?:^|[^.\w])([a-z_][a-z0-9_]*)\(/) { names.insert(String(match.1)) }
            }
        }
        return names
    }

    /// In schema public, as its login role: for every name that pg_catalog has, functions of one and two arguments of all
    /// common types, and of the arguments' own names; for every operator, all pairs of those types. Each takes a number
    /// from a sequence, which no rollback gives back, and fails.
    private static let traps = """
        CREATE SEQUENCE public.hijacked;
        GRANT USAGE ON SEQUENCE public.hijacked TO PUBLIC;
        -- Not %: pg_trgm couldn't make its own.
        DO $plant$
        DECLARE
            c_types CONSTANT text[] := '{text,name,int4,int8,numeric,bool,uuid,bytea,json,jsonb,timestamp,timestamptz,interval}';
            c_body  CONSTANT text := 'BEGIN PERFORM pg_catalog.nextval(''public.hijacked''); RAISE EXCEPTION ''hijacked''; END';
            v_name  text;
            v_types text;
            v_left  text;
            v_right text;
        BEGIN
            FOR v_name, v_types IN
                SELECT t.name, t.types
                FROM (
                    SELECT p.proname, a.types
                    FROM pg_catalog.pg_proc AS p
                    CROSS JOIN unnest(c_types) AS l (type)
                    CROSS JOIN unnest(c_types) AS r (type)
                    CROSS JOIN LATERAL (VALUES (l.type), (l.type || ',' || r.type)) AS a (types)
                    WHERE p.pronamespace = 'pg_catalog'::regnamespace
                      AND p.proname = ANY (current_setting('test.names')::text[])
                      AND p.prokind IN ('f', 'a', 'w')
                      AND cardinality(string_to_array(a.types, ',')) BETWEEN p.pronargs - p.pronargdefaults
                          AND greatest(p.pronargs, (p.provariadic <> 0)::int * 2)
                    UNION
                    SELECT p.proname, n.name || ' ' || l.type
                    FROM pg_catalog.pg_proc AS p
                    CROSS JOIN unnest('{secs}'::text[]) AS n (name)
                    CROSS JOIN unnest(c_types) AS l (type)
                    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = 'make_interval'
                ) AS t (name, types)
                -- Those with the argument's name first: the same types without it are another function to SQL, but the same here.
                ORDER BY strpos(t.types, ' ') = 0
            LOOP
                BEGIN
                    EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', v_name, v_types, c_body);
                EXCEPTION WHEN duplicate_function OR syntax_error THEN
                    NULL;
                END;
            END LOOP;
            FOREACH v_left IN ARRAY c_types LOOP
                FOREACH v_right IN ARRAY c_types LOOP
                    EXECUTE format('CREATE FUNCTION public.trap(%s, %s) RETURNS bool LANGUAGE plpgsql AS %L', v_left, v_right, c_body);
                    FOR v_name IN
                        SELECT DISTINCT o.oprname
                        FROM pg_catalog.pg_operator AS o
                        WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '||', '+', '-', '*', '/', '->', '->>', '#>',
                                            '#>>', '@>', '<@', '&', '#', '?', '~', '~~', '!~~', '&&')
                          AND NOT EXISTS (
                              SELECT
                              FROM pg_catalog.pg_operator AS e
                              WHERE e.oprname = o.oprname AND e.oprleft = v_left::regtype AND e.oprright = v_right::regtype)
                    LOOP
                        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap)',
                                       v_name, v_left, v_right);
                    END LOOP;
                END LOOP;
            END LOOP;
        END
        $plant$;
        """

    @Test("nothing of it runs under migrate, keys, seed, doctor, audit verify and the start of serve")
    func commands() async throws {
        let database = try await TestDatabase.empty()
        let mallory = "m\(newID().prefix(8))"
        let names = try Self.calledNames().sorted().joined(separator: ",")
        try await database.run("CREATE ROLE \(mallory) LOGIN; GRANT CREATE ON SCHEMA public TO \(mallory)")
        try await database.cluster.psql(
            ["-c", "SET test.names = '{\(names)}'", "-c", Self.traps], database: database.name, user: mallory)
        let planted = try await database.value(
            "SELECT count(*) FROM pg_proc WHERE proowner = '\(mallory)'::regrole")
        #expect(planted.flatMap { Int($0) }.map { $0 > 1000 } == true, "\(planted ?? "none")")
        // The traps work: a session without a pinned search_path falls into them.
        let calls = ["to_json(now()::timestamp)", "make_interval(secs => '1'::text)", "'a'::text || gen_random_uuid()"]
        for call in calls {
            await #expect(throws: (any Error).self) {
                try await database.cluster.psql("SELECT \(call)", database: database.name)
            }
        }
        try await database.run("SELECT setval('public.hijacked', 1, false)")

        let app = newID()
        try await database.customerd(["migrate"])
        try await database.customerd(["migrate"])
        try await database.customerd(["seed", "--customers", "20", "--app", app])
        let key =
            try await database.customerd(["keys", "create", "--app", app, "--role", "admin", "--name", "n"])
            .firstMatch(of: /ck_[A-Za-z0-9_-]+/).map { String($0.0) } ?? ""
        try await database.customerd(["keys", "list"])
        try await database.customerd(["keys", "rotate", key, "--overlap", "10"])
        try await database.customerd(["keys", "revoke", key])
        let doctor = try await database.run(["doctor"])
        try await database.customerd(["audit", "verify"])
        let service = try await RunningService.start(on: database)
        service.terminate()

        #expect(await service.exitStatus(within: .seconds(20)) == 0)
        #expect(doctor.output.contains("\(mallory) may create objects in schema public"))
        #expect(!doctor.output.contains("This check failed"), "\(doctor.output)")
        #expect(try await database.value("SELECT is_called FROM public.hijacked") == "f", "no trap was called")
        try await database.drop()
        try await PrivateCluster.shared.psql("DROP ROLE \(mallory)")
    }
}
