public import LibPQ

/// What keeps a customer with records from being deleted, and what may undo it. Reads the catalog alone, so any role can
/// look: `doctor` as the owner, `serve` as the service's role at its start.
public struct Protection: Sendable {
    private let connection: Connection
    /// The role whose settings count; nil for the session's own.
    private let role: String?
    private let deadline: ContinuousClock.Instant

    public init(connection: Connection, role: String? = nil, deadline: ContinuousClock.Instant) {
        self.connection = connection
        self.role = role
        self.deadline = deadline
    }

    /// - Returns: warnings and failures; empty where everything protects.
    public func findings() async throws(DatabaseError) -> [Finding] {
        try await ownKeys() + references() + keyTriggers() + foreignCode() + customers() + sessionSettings()
    }

    private func rows(_ sql: String, _ parameters: [Parameter] = []) async throws(DatabaseError) -> [Row] {
        try await connection.query(Statement(sql, parameters, prepared: false), deadline: deadline).rows
    }

    // MARK: - Foreign keys

    /// The five tables of the schema each have a foreign key on customers that refuses.
    private func ownKeys() async throws(DatabaseError) -> [Finding] {
        try await rows(
            """
            SELECT w.name,
                   k.oid IS NOT NULL,
                   CASE k.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END,
                   k.convalidated,
                   (to_jsonb(k) ->> 'conenforced')::boolean,
                   quote_ident(k.conname)
            FROM unnest('{invoices,payment_links,transactions,liquidation_addresses,legal_holds}'::name[])
                WITH ORDINALITY AS w (name, position)
            LEFT JOIN pg_class AS t ON t.relname = w.name AND t.relnamespace = 'public'::regnamespace
            LEFT JOIN LATERAL (
                SELECT c.*
                FROM pg_constraint AS c
                WHERE c.contype = 'f'
                  AND c.conrelid = t.oid
                  AND c.confrelid = 'public.customers'::regclass
                  AND (SELECT array_agg(a.attname::text || '=' || b.attname ORDER BY a.attname)
                       FROM unnest(c.conkey, c.confkey) AS pair (ours, theirs)
                       JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = pair.ours
                       JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = pair.theirs)
                      = '{app_id=app_id,customer_id=id}'::text[]
                ORDER BY c.confdeltype IN ('a', 'r') DESC, c.convalidated DESC
                LIMIT 1) AS k ON true
            ORDER BY w.position
            """
        ).flatMap { row in
            let table = row[0] ?? ""
            var problem: String?
            if row.bool(1) != true {
                problem = "\(table) has no foreign key on customers: customers with \(table) can be deleted."
            } else if let action = row[2] {
                problem = "The foreign key of \(table) has ON DELETE \(action), so it doesn't prevent a deletion."
            } else if row.bool(4) == false {
                problem = "The foreign key of \(table) isn't enforced: customers with \(table) can be deleted."
            } else if row.bool(3) == false {
                problem = "The foreign key of \(table) isn't validated: existing rows may be orphaned."
            }
            guard let problem else { return [Finding]() }
            let replaced = row[5].map { "DROP CONSTRAINT \($0), " } ?? ""
            let key = table == "legal_holds" ? "legal_holds_keep_a_customer" : "\(table)_belong_to_a_customer"
            let repair = """
                Restore it: ALTER TABLE public.\(table) \(replaced)ADD CONSTRAINT \(key) FOREIGN KEY \
                (app_id, customer_id) REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT.
                """
            let validate = "Run ALTER TABLE public.\(table) VALIDATE CONSTRAINT \(row[5] ?? "")."
            let isOnlyUnchecked = row.bool(1) == true && row[2] == nil && row.bool(4) != false
            return [Finding("references", .failure, "\(problem) \(isOnlyUnchecked ? validate : repair)")]
        }
    }

    /// The foreign keys of other tables.
    private func references() async throws(DatabaseError) -> [Finding] {
        try await rows(
            """
            SELECT c.conname,
                   CASE n.nspname WHEN 'public' THEN t.relname::text ELSE n.nspname || '.' || t.relname END,
                   CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END,
                   c.convalidated,
                   (SELECT string_agg(a.attname, ', ' ORDER BY k.position)
                    FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
                    JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
                    WHERE NOT a.attnotnull),
                   (SELECT string_agg(a.attname, ', ' ORDER BY k.position)
                    FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
                    JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum),
                   -- The key's columns, in any order, lead an index over all rows.
                   EXISTS (SELECT
                           FROM pg_index AS i
                           WHERE i.indrelid = c.conrelid
                             AND i.indisvalid
                             AND i.indpred IS NULL
                             AND c.conkey @> (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)]
                             AND c.conkey <@ (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)]),
                   (to_jsonb(c) ->> 'conenforced')::boolean,
                   n.nspname = 'public'
                   AND t.relname = ANY ('{invoices,payment_links,transactions,liquidation_addresses,legal_holds}'::name[]),
                   -- What checks a key runs as the owner of its table.
                   has_schema_privilege(t.relowner, n.oid, 'USAGE') AND has_table_privilege(t.relowner, t.oid, 'SELECT')
                   AND has_any_column_privilege(t.relowner, t.oid, 'UPDATE'),
                   quote_ident(pg_get_userbyid(t.relowner))
            FROM pg_constraint AS c
            JOIN pg_class AS t ON t.oid = c.conrelid
            JOIN pg_namespace AS n ON n.oid = t.relnamespace
            WHERE c.contype = 'f'
              AND c.confrelid = 'public.customers'::regclass
              AND c.conparentid = 0
            ORDER BY 2, 1
            """
        ).flatMap(reference)
    }

    private func reference(_ row: Row) -> [Finding] {
        let key = row[0] ?? ""
        let table = row[1] ?? ""
        let isOwn = row.bool(8) == true
        var findings: [Finding] = []
        func add(_ message: String) { findings.append(Finding("references", .warning, message)) }
        if !isOwn, let action = row[2] {
            add("The foreign key \(key) of \(table) has ON DELETE \(action), so it doesn't prevent a deletion.")
        }
        if !isOwn, row.bool(7) == false {
            add("The foreign key \(key) of \(table) isn't enforced, so it doesn't prevent a deletion.")
        } else if !isOwn, row.bool(3) == false {
            add("The foreign key \(key) of \(table) isn't validated: existing rows may be orphaned. Validate it.")
        }
        if let nullable = row[4] {
            add("\(nullable) of \(table) may be NULL, which the foreign key \(key) doesn't check: set it NOT NULL.")
        }
        if row.bool(9) == false {
            let owner = row[10] ?? ""
            findings.append(
                Finding(
                    "references", .failure,
                    """
                    The owner of \(table), \(owner), may not read it, as which the foreign key \(key) is checked, so every \
                    deletion fails: grant \(owner) USAGE on its schema, SELECT and UPDATE on the table.
                    """))
        }
        if row.bool(6) == false {
            add("\(table) has no index on (\(row[5] ?? "")), so every deletion reads the whole table: create one.")
        }
        return findings
    }

    /// A foreign key is enforced by triggers on both tables, those of partitions by their own.
    private func keyTriggers() async throws(DatabaseError) -> [Finding] {
        try await rows(
            """
            SELECT c.conname,
                   CASE n.nspname WHEN 'public' THEN k.relname::text ELSE n.nspname || '.' || k.relname END,
                   bool_or(t.tgenabled = 'R'),
                   string_agg(DISTINCT format('ALTER TABLE %I.%I ENABLE TRIGGER %I', m.nspname, r.relname, t.tgname), '; ')
            FROM pg_trigger AS t
            JOIN pg_class AS r ON r.oid = t.tgrelid
            JOIN pg_namespace AS m ON m.oid = r.relnamespace
            JOIN pg_constraint AS c ON c.oid = t.tgconstraint
            JOIN pg_class AS k ON k.oid = c.conrelid
            JOIN pg_namespace AS n ON n.oid = k.relnamespace
            WHERE c.contype = 'f'
              AND c.confrelid = 'public.customers'::regclass
              AND t.tgenabled IN ('D', 'R')
            GROUP BY 1, 2
            ORDER BY 2, 1
            """
        ).map { row in
            let state = row.bool(2) == true ? "fire only in a replica" : "are disabled"
            return Finding(
                "references", .failure,
                """
                The triggers of the foreign key \(row[0] ?? "") of \(row[1] ?? "") \(state), so it isn't enforced: \
                \(row[3] ?? "").
                """)
        }
    }

    /// What deletions refuse to run.
    private func foreignCode() async throws(DatabaseError) -> [Finding] {
        let isThere = try await rows(
            "SELECT has_function_privilege(to_regprocedure('service.foreign_code()'), 'EXECUTE')")
        guard isThere.first?.bool(0) == true else { return [] }
        return try await rows(
            """
            SELECT f.constraint_name,
                   CASE f.schema_name WHEN 'public' THEN f.table_name::text ELSE f.schema_name || '.' || f.table_name END,
                   f.code
            FROM service.foreign_code() AS f
            """
        ).map { row in
            Finding(
                "references", .failure,
                """
                Through the foreign key \(row[0] ?? "") of \(row[1] ?? "") a deletion would run \(row[2] ?? "") with the \
                rights of the service, so every deletion is refused: drop that code, or the key's ON DELETE action.
                """)
        }
    }

    // MARK: - The table of customers

    private func customers() async throws(DatabaseError) -> [Finding] {
        let triggers = try await rows(
            """
            SELECT t.tgname, t.tgenabled = 'D', t.tgtype & 11 = 11
            FROM pg_trigger AS t
            WHERE t.tgrelid = 'public.customers'::regclass
              AND NOT t.tgisinternal
              -- Disabled, or row-level BEFORE DELETE.
              AND (t.tgenabled = 'D' OR t.tgtype & 11 = 11)
            ORDER BY t.tgname
            """
        ).map { row in
            let name = row[0] ?? ""
            return row.bool(1) == true
                ? Finding("triggers", .warning, "The trigger \(name) of customers is disabled.")
                : Finding(
                    "triggers", .warning,
                    "The trigger \(name) of customers runs before each deletion and may prevent it: check what it does."
                )
        }
        let rules = try await rows(
            """
            SELECT w.rulename, w.ev_type = '4'
            FROM pg_rewrite AS w
            WHERE w.ev_class = 'public.customers'::regclass AND w.ev_enabled <> 'D'
            ORDER BY w.rulename
            """
        ).map { row in
            let name = row[0] ?? ""
            return row.bool(1) == true
                ? Finding(
                    "triggers", .failure, "Because of the rule \(name) of customers every deletion fails: drop it.")
                : Finding(
                    "triggers", .warning, "The rule \(name) rewrites statements on customers: check what it does.")
        }
        let policies = try await rows(
            """
            SELECT t.relforcerowsecurity
            FROM pg_class AS t
            WHERE t.oid = 'public.customers'::regclass AND t.relrowsecurity
            """
        ).map { _ in
            Finding(
                "triggers", .warning,
                """
                Row-level security is on for customers: what a policy hides can be neither read nor deleted. Check the \
                policies, or ALTER TABLE public.customers DISABLE ROW LEVEL SECURITY.
                """)
        }
        return triggers + rules + policies
    }

    // MARK: - Settings

    private func sessionSettings() async throws(DatabaseError) -> [Finding] {
        let names = [
            "session_replication_role", "default_transaction_isolation", "default_transaction_read_only",
            "log_min_duration_statement", "log_statement",
            "log_min_duration_sample", "log_statement_sample_rate", "log_transaction_sample_rate",
            "log_parameter_max_length", "log_parameter_max_length_on_error", "auto_explain.log_min_duration",
        ]
        let given = try await RoleSetting.all(connection, deadline: deadline)
        // As the service's sessions have it: of the role in this database, else of the role, of the database, of the server.
        let sessionUser: String = try await rows("SELECT session_user AS name").first?.get("name") ?? ""
        let own = given.filter { $0.role == nil || $0.role == role ?? sessionUser }
        var values: [String: String] = [:]
        for row in try await rows(
            "SELECT name, setting, reset_val FROM pg_settings WHERE name = ANY ($1::text[])", [.array(names)])
        {
            let name: String = try row.get("name")
            let ofServer = row[role == nil ? "setting" : "reset_val"]
            values[name] = role == nil ? ofServer : own.first { $0.name == name }?.value ?? ofServer
        }
        // Of a library that only the service's sessions load.
        for setting in own where names.contains(setting.name) && values[setting.name] == nil {
            values[setting.name] = setting.value
        }
        let replicas = given.filter { $0.name == "session_replication_role" && $0.value.lowercased() == "replica" }
        return replicationRole(
            values["session_replication_role"], Set(replicas.map { $0.role ?? "all roles" }).sorted())
            + isolation(values, own) + readOnly(values) + logging(values)
    }

    private func replicationRole(_ own: String?, _ roles: [String]) -> [Finding] {
        guard own == "replica" || !roles.isEmpty else { return [] }
        let whose = roles.isEmpty ? "the server's configuration" : "the settings of \(roles.joined(separator: ", "))"
        return [
            Finding(
                "references", .failure,
                """
                session_replication_role is replica by \(whose), which switches foreign keys off: customers with records \
                can be deleted. Reset it with ALTER ROLE … RESET session_replication_role or ALTER DATABASE … RESET \
                session_replication_role.
                """)
        ]
    }

    /// Also of a level that another setting overrides: it was chosen for a reason that doesn't hold.
    private func isolation(_ values: [String: String], _ own: [RoleSetting]) -> [Finding] {
        let chosen = Set(own.filter { $0.name == "default_transaction_isolation" }.map(\.value)).sorted()
        let effective = values["default_transaction_isolation"].map { [$0] } ?? []
        guard let level = (effective + chosen).first(where: { $0 != "read committed" && !$0.isEmpty }) else {
            return []
        }
        return [
            Finding(
                "settings", .warning,
                """
                default_transaction_isolation is set to \(level) for the service's role or database, but the service is \
                written for read committed, which it sets itself: ALTER ROLE … RESET default_transaction_isolation.
                """)
        ]
    }

    /// An operator may have chosen it to stop all writes, so the service doesn't set it.
    private func readOnly(_ values: [String: String]) -> [Finding] {
        guard values["default_transaction_read_only"] == "on" else { return [] }
        return [
            Finding(
                "settings", .warning,
                """
                default_transaction_read_only is on for the service's role, its database or the server, so that it answers \
                every request with 503 until that is over: ALTER ROLE or ALTER DATABASE … RESET default_transaction_read_only.
                """)
        ]
    }

    /// Bound parameters hold names, addresses and phone numbers.
    private func logging(_ values: [String: String]) -> [Finding] {
        func isNumber(_ name: String, from least: Double) -> Bool {
            let digits = (values[name] ?? "").prefix { "-.0123456789".contains($0) }
            return Double(digits).map { $0 >= least } ?? false
        }
        func isZero(_ name: String) -> Bool { isNumber(name, from: 0) && !isNumber(name, from: 0.000_1) }
        var causes: [String] = []
        if isNumber("log_min_duration_statement", from: 0) { causes.append("log_min_duration_statement") }
        if isNumber("log_min_duration_sample", from: 0), isNumber("log_statement_sample_rate", from: 0.000_001) {
            causes.append("log_min_duration_sample")
        }
        if isNumber("log_transaction_sample_rate", from: 0.000_001) { causes.append("log_transaction_sample_rate") }
        if ["mod", "all"].contains(values["log_statement"]) { causes.append("log_statement") }
        var findings: [Finding] = []
        if !causes.isEmpty, !isZero("log_parameter_max_length") {
            findings.append(
                Finding(
                    "settings", .warning,
                    """
                    The server logs statements (\(causes.joined(separator: ", "))) with their parameters, which hold \
                    personal data: ALTER ROLE … SET log_parameter_max_length = 0 for the service's role, as a superuser.
                    """))
        }
        if !isZero("log_parameter_max_length_on_error"), values["log_parameter_max_length_on_error"] != nil {
            findings.append(
                Finding(
                    "settings", .warning,
                    """
                    The server logs the parameters of failed statements, which hold personal data: ALTER ROLE … SET \
                    log_parameter_max_length_on_error = 0 for the service's role.
                    """))
        }
        if isNumber("auto_explain.log_min_duration", from: 0) {
            // A plan made for one execution has the parameters in its conditions, as constants.
            findings.append(
                Finding(
                    "settings", .warning,
                    """
                    auto_explain logs plans, whose conditions show names and addresses that were looked for: ALTER ROLE … \
                    SET auto_explain.log_min_duration = -1 for the service's role, as a superuser.
                    """))
        }
        return findings
    }
}
