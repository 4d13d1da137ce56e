import Foundation
import TestSupport
import Testing

/// Tables made at random that refer to customers: to them alone or through each other, with every action, deferrable or
/// not, partitioned or not, of this owner or another, with row-level security or without.
///
/// For each customer, whatever its records: the deletion-check says deletable exactly when the deletion answers 200, else
/// that is 400; and whatever goes or changes stands in the entry.
@Suite("Restrictions by random tables", .stages, .singleNode("the other tables would have to be distributed, too"))
struct RestrictionPropertyTests {
    @Test("deletable is exact, and nothing goes without being counted")
    func property() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000000"])
        let tenant = try await stage.tenant()
        let end = ContinuousClock.now + .seconds(25)
        var (statuses, cascades) = ([Int: Int](), 0)
        for seed in UInt64(1)...12 where ContinuousClock.now < end {
            var random = SeededGenerator(seed: seed)
            let tables = RandomTable.some(&random)
            print("restrictions, seed \(seed)")
            try await stage.database.run(tables.map(\.creation).joined(separator: "\n"))
            for customer in try await tenant.insert(count: 8) {
                let rows = tables.map { $0.rows(of: customer, app: tenant.app, tables, &random) }
                try await stage.database.run(rows.joined(separator: "\n"))
                let comment: Comment = "seed \(seed), customer \(customer)"

                let check = try await tenant.get("/api/v0/customers/\(customer)/deletion-check").object
                let before = try await state(of: customer, tables, stage)
                let answer = try await tenant.delete(customer)
                let after = try await state(of: customer, tables, stage)

                statuses[answer.status, default: 0] += 1
                #expect(answer.status == 200 || answer.status == 400, comment)
                #expect(check["deletable"] as? Bool == (answer.status == 200), comment)
                #expect((check["blockers"] as? [Any])?.isEmpty == (answer.status == 200), comment)
                let entry = try #require(try await tenant.entries(about: customer).last)
                let cascaded = try Self.cascaded(entry)
                guard answer.status == 200 else {
                    #expect(before == after, comment)
                    continue
                }
                cascades += cascaded.isEmpty ? 0 : 1
                for table in tables {
                    let (old, new) = (before[table.name] ?? .init(), after[table.name] ?? .init())
                    expect(old.rows - new.rows, of: table, by: ["CASCADE"], cascaded, comment)
                    // A row that goes counts as gone alone.
                    let changed = new.unlinked - old.unlinked
                    if old.rows == new.rows {
                        expect(changed, of: table, by: ["SET NULL", "SET DEFAULT"], cascaded, comment)
                    }
                }
            }
            try await stage.database.run(
                tables.reversed().map { "DROP TABLE \($0.name) CASCADE;" }.joined(separator: "\n"))
        }

        #expect(
            statuses[200] ?? 0 > 5 && statuses[400] ?? 0 > 5 && cascades > 3, "all happen: \(statuses), \(cascades)")
    }

    /// A table that can't be read has an entry without a count; the counts of others add up.
    private func expect(
        _ count: Int, of table: RandomTable, by actions: Set<String>, _ cascaded: [Cascaded], _ comment: Comment
    ) {
        let found = cascaded.filter { $0.table == table.name && actions.contains($0.action) }
        let counts = found.compactMap(\.count)
        if counts.count == found.count {
            #expect(counts.reduce(0, +) == count, "\(comment): \(table.name)")
        } else {
            #expect(table.isHidden || table.isBehindHidden, "\(comment): \(table.name)")
        }
    }

    private struct Cascaded {
        let table: String
        let action: String
        let count: Int?
    }

    private static func cascaded(_ entry: TrailEntry) throws -> [Cascaded] {
        let request = try JSONSerialization.jsonObject(with: Data((entry["request"] ?? "{}").utf8)) as? [String: Any]
        return (request?["cascaded"] as? [[String: Any]] ?? []).map {
            Cascaded(
                table: $0["table"] as? String ?? "", action: $0["action"] as? String ?? "", count: $0["count"] as? Int)
        }
    }

    private struct State: Equatable {
        /// Rows that were made for the customer.
        var rows = 0
        /// Those among them whose key leads nowhere any more.
        var unlinked = 0
    }

    private func state(of customer: String, _ tables: [RandomTable], _ stage: Stage) async throws -> [String: State] {
        let queries = tables.map {
            """
            SELECT '\($0.name)' AS name, count(*)::text AS rows,
                   (count(*) FILTER (WHERE ref_id IS NULL OR ref_id = '\(RandomTable.nowhere)'))::text AS unlinked
            FROM \($0.name) WHERE tag = '\(customer)'
            """
        }
        let rows = try await stage.database.rows(queries.joined(separator: "\nUNION ALL\n"))
        return Dictionary(
            uniqueKeysWithValues: rows.map {
                ($0["name"] ?? "", State(rows: Int($0["rows"] ?? "") ?? 0, unlinked: Int($0["unlinked"] ?? "") ?? 0))
            })
    }
}

/// A table with a key `(ref_app, ref_id)` to customers or to a table before it, and perhaps one to itself.
private struct RandomTable {
    static let nowhere = "00000000-0000-0000-0000-00000000dead"
    private static let actions = ["NO ACTION", "RESTRICT", "CASCADE", "CASCADE", "CASCADE", "SET NULL", "SET DEFAULT"]
    private static let times = ["", "", "DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"]

    let name: String
    /// The table before it that it refers to; customers when nil.
    let parent: Int?
    let action: String
    let time: String
    let isNullable: Bool
    /// Whether the key's default is a row that isn't there.
    let hasDefault: Bool
    let isPartitioned: Bool
    let isHidden: Bool
    let isBehindHidden: Bool
    let selfAction: String?
    let isOfOtherOwner: Bool

    static func some(_ random: inout SeededGenerator) -> [RandomTable] {
        var tables: [RandomTable] = []
        var depths: [Int] = []
        for index in 0..<Int.random(in: 2...6, using: &random) {
            let candidates = depths.indices.filter { depths[$0] < 3 }
            let parent = Int.random(in: 0..<5, using: &random) < 2 ? nil : candidates.randomElement(using: &random)
            depths.append((parent.map { depths[$0] } ?? 0) + 1)
            tables.append(
                RandomTable(
                    name: "random_\(index)",
                    parent: parent,
                    action: actions.randomElement(using: &random) ?? "",
                    time: times.randomElement(using: &random) ?? "",
                    isNullable: Int.random(in: 0..<4, using: &random) > 0,
                    hasDefault: Bool.random(using: &random),
                    isPartitioned: Int.random(in: 0..<4, using: &random) == 0,
                    isHidden: Int.random(in: 0..<5, using: &random) == 0,
                    isBehindHidden: parent.map { tables[$0].isHidden || tables[$0].isBehindHidden } ?? false,
                    selfAction: Int.random(in: 0..<4, using: &random) == 0
                        ? actions.randomElement(using: &random) : nil,
                    isOfOtherOwner: Bool.random(using: &random)))
        }
        return tables
    }

    var creation: String {
        let null = isNullable ? "" : "NOT NULL"
        let `default` = hasDefault ? "DEFAULT '\(Self.nowhere)'" : ""
        let referenced = parent.map { "random_\($0)" } ?? "customers"
        let toItself = selfAction.map {
            ", CONSTRAINT \(name)_self FOREIGN KEY (app_id, boss) REFERENCES \(name) (app_id, id) ON DELETE \($0)"
        }
        let partition =
            isPartitioned ? "CREATE TABLE \(name)_0 PARTITION OF \(name) FOR VALUES WITH (MODULUS 1, REMAINDER 0);" : ""
        return """
            CREATE TABLE \(name) (
                tag text, app_id uuid, id uuid, boss uuid, ref_app uuid \(null) \(`default`), ref_id uuid \(null) \(`default`),
                PRIMARY KEY (app_id, id),
                CONSTRAINT \(name)_key FOREIGN KEY (ref_app, ref_id) REFERENCES \(referenced) (app_id, id)
                    ON DELETE \(action) \(time)\(toItself ?? "")) \(isPartitioned ? "PARTITION BY HASH (id)" : "");
            \(partition)
            \(isHidden ? "ALTER TABLE \(name) ENABLE ROW LEVEL SECURITY;" : "")
            \(isOfOtherOwner && !isHidden ? "ALTER TABLE \(name) OWNER TO customerd_owner;" : "")
            """
    }

    /// Statements that insert none to two rows for each row of the customer that they may refer to.
    func rows(of customer: String, app: String, _ tables: [RandomTable], _ random: inout SeededGenerator) -> String {
        guard Int.random(in: 0..<3, using: &random) > 0 || parent != nil && Bool.random(using: &random) else {
            return ""
        }
        let source =
            parent.map { "random_\($0) AS p WHERE p.tag = '\(customer)'" }
            ?? "customers AS p WHERE p.id = '\(customer)'"
        let count = Int.random(in: 1...2, using: &random)
        let boss =
            selfAction == nil
            ? ""
            : """
            UPDATE \(name) AS t SET boss = (SELECT min(id::text)::uuid FROM \(name) WHERE tag = '\(customer)')
            WHERE tag = '\(customer)';
            """
        return """
            INSERT INTO \(name) (tag, app_id, id, ref_app, ref_id)
            SELECT '\(customer)', p.app_id, gen_random_uuid(), p.app_id, p.id
            FROM generate_series(1, \(count)), \(source);
            \(boss)
            """
    }
}
