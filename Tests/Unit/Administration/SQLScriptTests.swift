import LibPQ
import Testing

@testable import Administration

@Suite("A script of SQL")
struct SQLScriptTests {
    @Test("falls apart at the semicolons between statements, not at those within one")
    func statements() {
        let script = SQLScript(
            """
            -- A comment; with a semicolon.
            CREATE TABLE "a;b" (x text DEFAULT ';''"'); -- it's another
            DO $$ BEGIN PERFORM 1; END $$;
            DO $do$ BEGIN EXECUTE $x$ SELECT ';'; $x$; END $do$
            """)

        #expect(
            script.statements == [
                #"CREATE TABLE "a;b" (x text DEFAULT ';''"')"#,
                "DO $$ BEGIN PERFORM 1; END $$",
                "DO $do$ BEGIN EXECUTE $x$ SELECT ';'; $x$; END $do$",
            ])
    }

    @Test("of the schema has only statements that begin with a verb", arguments: Schema.current.files)
    func schema(_ file: SchemaFile) {
        let verbs = ["ALTER", "COMMENT", "CREATE", "DO", "SELECT"]
        let others = SQLScript(file.sql).statements.filter { statement in
            !verbs.contains { statement.hasPrefix($0 + " ") }
        }

        #expect(others.isEmpty)
    }
}
