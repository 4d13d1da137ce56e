import LibPQ

extension Doctor {
    // MARK: - What refers to customers

    /// Every foreign key on customers refuses a deletion, unless it is one of those that don't.
    func references() async throws(DatabaseError) -> [Finding] {
        guard try await exists("public.customers") else { return [] }
        let keys = try await rows(
            """
            SELECT c.conname,
                   c.conrelid::regclass::text,
                   CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END,
                   c.convalidated,
                   (SELECT string_agg(a.attname, ', ' ORDER BY k.position)
                    FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
                    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
                    WHERE NOT a.attnotnull),
                   (SELECT string_agg(a.attname, ', ' ORDER BY k.position)
                    FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, position)
                    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum),
                   -- The key's columns, in any order, lead an index over all rows.
                   EXISTS (SELECT
                           FROM pg_catalog.pg_index AS i
                           WHERE i.indrelid = c.conrelid
                             AND i.indisvalid
                             AND i.indpred IS NULL
                             AND c.conkey @> (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)]
                             AND c.conkey <@ (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(c.conkey)]),
                   EXISTS (SELECT
                           FROM pg_catalog.pg_trigger AS t
                           WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')
            FROM pg_catalog.pg_constraint AS c
            WHERE c.contype = 'f'
              AND c.confrelid = 'public.customers'::regclass
              AND c.conparentid = 0
            ORDER BY 2, 1
            """
        )
        let findings = keys.flatMap(reference)
        guard findings.isEmpty else { return findings }
        return [
            Finding(
                "references", .ok, "All \(keys.count) foreign keys on customers refuse a deletion, and are indexed.")
        ]
    }

    private func reference(_ row: Row) -> [Finding] {
        let key = row[0] ?? ""
        let table = row[1] ?? ""
        var findings: [Finding] = []
        func add(_ level: Finding.Level, _ message: String) { findings.append(Finding("references", level, message)) }
        if let action = row[2] {
            add(.warning, "The foreign key \(key) of \(table) has ON DELETE \(action), so it forbids no deletion.")
        }
        if row.bool(3) == false {
            add(.warning, "The foreign key \(key) of \(table) isn't validated: older rows may refer to nobody.")
        }
        if let nullable = row[4] {
            add(.warning, "\(nullable) of \(table) may be NULL, which slips through its foreign key \(key).")
        }
        if row.bool(6) == false {
            add(.warning, "\(table) has no index on (\(row[5] ?? "")), so every deletion reads all of it.")
        }
        if row.bool(7) == true {
            add(.failure, "The triggers of the foreign key \(key) of \(table) are disabled, so it isn't enforced.")
        }
        return findings
    }

    func customerTriggers() async throws(DatabaseError) -> [Finding] {
        guard try await exists("public.customers") else { return [] }
        let disabled = try await rows(
            """
            SELECT tgname
            FROM pg_catalog.pg_trigger
            WHERE tgrelid = 'public.customers'::regclass AND tgenabled = 'D' AND tgconstraint = 0
            ORDER BY tgname
            """
        ).compactMap { $0[0] }
        return disabled.isEmpty
            ? [Finding("triggers", .ok, "No trigger of customers is disabled.")]
            : disabled.map { Finding("triggers", .warning, "The trigger \($0) of customers is disabled.") }
    }
}
