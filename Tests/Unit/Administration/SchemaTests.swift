import Foundation
import LibPQ
import TestSupport
import Testing

/// The schema on other servers than the usual, and out of a dump.
@Suite("Schema")
struct SchemaTests {
    /// What a server without ICU lacks, without the C library's locales too.
    static let lacking: [(collations: String, finds: Bool)] = [
        ("", true), ("collprovider = 'i'", true), ("collname NOT IN ('default', 'C', 'POSIX')", false),
    ]

    @Test("a search finds what differs in case or in the encoding of accents, with ICU and without", arguments: lacking)
    func folding(collations: String, findsAll: Bool) async throws {
        let database = try await TestDatabase.empty()
        if !collations.isEmpty { try await database.run("DELETE FROM pg_collation WHERE \(collations)") }
        try await database.customerd(["migrate"])
        let names = ["ΟΔΥΣΣΕΥΣ", "straße", "STRASSE", "Jose\u{301}", "JOSÉ", "100 ％", "O'Brien"]
        for name in names {
            try await database.rows(
                "INSERT INTO public.customers (app_id, first_name, last_name) VALUES ($1, $2, '')",
                [.text("aaaaaaaa-0000-4000-8000-000000000001"), .text(name)])
        }

        func found(_ text: String) async throws -> Set<String> {
            let rows = try await database.rows(
                "SELECT first_name FROM public.customers WHERE searchable_name LIKE service.containing($1)",
                [.text(text)])
            return Set(rows.compactMap { $0["first_name"] })
        }
        #expect(try await found("o'b") == ["O'Brien"])
        #expect(try await found("100 %") == ["100 ％"])
        #expect(try await found("％") == ["100 ％"], "a full-width sign is no wildcard")
        #expect(try await found("_").isEmpty)
        guard findsAll else { return try await database.drop() }
        #expect(try await found("ΟΔΥΣ") == ["ΟΔΥΣΣΕΥΣ"])
        #expect(try await found("οδυς") == ["ΟΔΥΣΣΕΥΣ"])
        #expect(try await found("Straße") == ["straße", "STRASSE"])
        #expect(try await found("strasse") == ["straße", "STRASSE"])
        for text in ["josé", "JOSE\u{301}"] { #expect(try await found(text) == ["Jose\u{301}", "JOSÉ"]) }
        try await database.drop()
    }

    @Test("an archived customer with invoices comes out of a dump, of the data alone and of everything")
    func restoring() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run(
            """
            INSERT INTO public.customers (app_id, id, first_name, last_name)
            VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000002', 'Ada', 'Lovelace');
            INSERT INTO public.invoices (app_id, customer_id)
            VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000002');
            """)
        try await database.run("UPDATE public.customers SET archived_at = clock_timestamp()")
        let data = try await database.dump([
            "--data-only", "--exclude-table=service.migrations", "--exclude-table=service.applied_functions",
        ])
        let all = try await database.dump([])
        let copies = [(try await TestDatabase.migrated(), data), (try await TestDatabase.empty(), all)]

        for (copy, dump) in copies {
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("dump-\(UUID().uuidString).sql")
            defer { try? FileManager.default.removeItem(at: file) }
            try Data(dump.utf8).write(to: file)
            try await copy.cluster.psql(file: file.path, database: copy.name)
            #expect(try await copy.value("SELECT count(*) FROM public.invoices") == "1")
            let insert = """
                INSERT INTO public.invoices (app_id, customer_id) SELECT app_id, id FROM public.customers
                """
            #expect(try await copy.sqlstate(insert, as: "postgres") == "23514", "it takes no new records")
            let moved = "UPDATE public.invoices SET customer_id = gen_random_uuid()"
            #expect(try await copy.sqlstate(moved, as: "postgres") == "23503")
            try await copy.drop()
        }
        try await database.drop()
    }
}
