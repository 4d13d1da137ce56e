import LibPQ
import TestSupport
import Testing

/// The record of section 1, to the byte, in the answer and in the before-image, whatever the database's defaults.
@Suite(
    "The record", .singleNode("defaults of a database hold for one node"),
    .stage(
        prepare: """
            DO $$
            DECLARE
                setting text;
            BEGIN
                FOREACH setting IN ARRAY ARRAY[
                    'timezone = ''Asia/Kathmandu''', 'datestyle = ''German, DMY''', 'bytea_output = ''escape''',
                    'default_transaction_isolation = ''serializable''', 'intervalstyle = ''sql_standard''',
                    'extra_float_digits = 0', 'standard_conforming_strings = off', 'backslash_quote = off',
                    'default_transaction_deferrable = on', 'lc_numeric = ''C''', 'array_nulls = off'
                ] LOOP
                    EXECUTE format('ALTER DATABASE %I SET %s', current_database(), setting);
                END LOOP;
            END $$
            """
    )
)
struct RecordTests {
    let stage = Stage.current

    static let unusual: [(String, CustomerFixture)] = [
        (
            "nothing that may be absent",
            CustomerFixture {
                $0.email = nil
                $0.lastSpent = nil
                $0.lastPurchaseDate = nil
                $0.phoneNumber = ""
            }
        ),
        (
            "emoji and other scripts",
            CustomerFixture {
                $0.firstName = "👩🏽‍🚀 Zoë"
                $0.lastName = "Łódź–Дмитрий 山田"
                $0.email = "ü@例え.jp"
            }
        ),
        (
            "quotes, backslashes and markup",
            CustomerFixture {
                $0.firstName = #"Robert"); DROP TABLE customers;--"#
                $0.lastName = #"\O'Brien\ </script>&amp; /"#
            }
        ),
        (
            "control characters",
            CustomerFixture {
                $0.firstName = "a\u{1}b\u{8}c\u{c}d\ne\rf\tg\u{1f}h\u{7f}i"
                $0.lastName = "\u{2028}\u{2029}\u{feff}\u{202e}"
            }
        ),
        ("the greatest amount", CustomerFixture { $0.lastSpent = "9999999999999999.99" }),
        ("the least amount", CustomerFixture { $0.lastSpent = "-9999999999999999.99" }),
        ("a trailing zero", CustomerFixture { $0.lastSpent = "0.10" }),
        ("zero", CustomerFixture { $0.lastSpent = "0.00" }),
        ("an amount that no binary float holds", CustomerFixture { $0.lastSpent = "90071992547409.93" }),
        ("a whole amount", CustomerFixture { $0.lastSpent = "250.00" }),
        (
            "microseconds",
            CustomerFixture {
                $0.lastPurchaseDate = "2024-01-15T10:30:00.123456Z"
                $0.createdAt = "1969-12-31T23:59:59.999999Z"
                $0.updatedAt = "2024-02-29T23:59:59.000001Z"
            }
        ),
        (
            "whole seconds at the edges",
            CustomerFixture {
                $0.lastPurchaseDate = "9999-12-31T23:59:59Z"
                $0.createdAt = "0001-01-01T00:00:00Z"
                $0.updatedAt = "1970-01-01T00:00:00Z"
            }
        ),
        (
            "the longest texts",
            CustomerFixture {
                $0.firstName = String(repeating: "😀", count: 100)
                $0.lastName = String(repeating: "\"", count: 100)
                $0.email = String(repeating: "é", count: 255)
                $0.phoneNumber = String(repeating: "9", count: 20)
                $0.status = "BLACKLISTED"
                $0.customerType = "Medium Business"
            }
        ),
    ]

    @Test("the answer and the before-image are the row, to the byte", arguments: unusual.indices)
    func bytes(index: Int) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(Self.unusual[index].1)
        let record = customer.record(app: tenant.app)

        let answer = try await tenant.delete(customer.id)

        #expect(answer.status == 200, "\(Self.unusual[index].0)")
        #expect(answer.body == record)
        let entries = try await tenant.entries()
        try #require(entries.map { $0["outcome"] } == ["SUCCEEDED"])
        #expect(try await stage.database.image(of: entries[0], is: record))
    }

    @Test("a replay is the same to the byte")
    func replay() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(Self.unusual[3].1)
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        let second = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(first.body == customer.record(app: tenant.app))
        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
    }

    @Test("an id in upper case is the same customer, answered in lower case")
    func upperCase() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.delete(customer.id.uppercased(), idempotencyKey: newID().uppercased())

        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(try await tenant.entries().map { $0["customer_id"] } == [customer.id])
    }

    @Test("a refusal's help and before-image name the id in lower case")
    func upperCaseRefused() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: customer.id)

        let answer = try await tenant.delete(customer.id.uppercased())

        #expect(answer["link"] == #"</api/v0/customers/\#(customer.id)/deletion-check>; rel="help""#)
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(try await stage.database.image(of: entries[0], is: customer.record(app: tenant.app)))
    }

    @Test("times of the trail are true whatever the time zone")
    func times() async throws {
        let tenant = try await stage.tenant()

        _ = try await tenant.delete(newID())

        let isRecent = try await stage.database.value(
            """
            SELECT bool_and(occurred_at BETWEEN now() - interval '1 minute' AND recorded_at AND recorded_at <= now())
            FROM audit.entries
            WHERE app_id = $1
            """,
            [.text(tenant.app)]
        )
        #expect(isRecent == "t")
    }
}
