import LibPQ
import TestSupport
import Testing

/// The bytes that are hashed. The expected values were computed by a third program, in Python, from
/// docs/audit-chain.md; the database and `customerd audit verify` must both come to the same.
@Suite("Canonical form")
struct CanonicalFormTests {
    private enum Shared {
        static let database = Task { try await TestDatabase.migrated() }
    }

    @Test(
        "NULL, empty and text differ, and lengths count bytes",
        arguments: [
            ("seq", "1", "00000003" + "736571" + "01" + "00000001" + "31"),
            ("ip", nil, "00000002" + "6970" + "00"),
            ("ip", "", "00000002" + "6970" + "01" + "00000000"),
            ("reason", "é🙂", "00000006" + "726561736f6e" + "01" + "00000006" + "c3a9f09f9982"),
        ] as [(String, String?, String)])
    func members(name: String, value: String?, expected: String) async throws {
        let database = try await Shared.database.value

        let computed = try await database.value(
            "SELECT encode(audit.member($1, $2), 'hex')", [.text(name), .text(value)])

        #expect(computed == expected)
    }

    private static let entry = """
        jsonb_populate_record(NULL::audit.entries, '{
            "seq": 1, "id": "0190a5b0-0000-7000-8000-000000000001", "app_id": "de300000-0000-4000-8000-000000000001",
            "occurred_at": "2024-02-29T23:59:59.999999Z", "recorded_at": "2024-03-01T00:00:00Z",
            "action": "customer.delete", "outcome": "REFUSED", "status_code": 400,
            "customer_id": "0190a5b0-0000-7000-8000-000000000002",
            "before_image": {"last_spent": 9999999999999999.99, "email": null},
            "actor_key_id": "0190a5b0-0000-7000-8000-000000000003", "actor_client_key": "ck_vector",
            "actor_name": "Müller", "actor_role": "admin", "actor_claimed": null, "reason": "",
            "ip": "2001:db8::1", "user_agent": "curl/8.0", "request_id": "r-1", "idempotency_key": null,
            "request": {"path": "/ü"}, "error_code": "P2003", "sqlstate": "23503",
            "constraint_name": "invoices_belong_to_a_customer", "referencing_table": "invoices", "error_message": null,
            "previous_hash": "\\\\x\(String(repeating: "00", count: 32))",
            "subject_salt": "\\\\x\(String(repeating: "11", count: 32))",
            "context_salt": "\\\\x\(String(repeating: "22", count: 32))",
            "subject_commitment": "\\\\x\(subjectCommitment)",
            "context_commitment": "\\\\x\(contextCommitment)",
            "hash": "\\\\x\(hash)"
        }')
        """
    private static let subjectCommitment = "fc6ec1ce9a604f31ecc88fd0e30190c0d12c887426eca2cd68c481099a23f658"
    private static let contextCommitment = "775eba82fe73a68b7c79c4253eae5a38f456a0bcc776b80fa210b7a7b993b62a"
    private static let hash = "8c460f409e1d3ae9baec733ffde7effdd69e5adfda9aea557fdf74c780d3702b"

    @Test("the database computes the commitments and the hash of the vector")
    func inTheDatabase() async throws {
        let database = try await Shared.database.value

        let computed = try await database.rows(
            """
            SELECT encode(audit.hmac_sha256(e.subject_salt, audit.subject(e)), 'hex') AS subject,
                   encode(audit.hmac_sha256(e.context_salt, audit.context(e)), 'hex') AS context,
                   encode(audit.hash(e), 'hex') AS hash
            FROM \(Self.entry) AS e
            """)

        #expect(
            computed == [
                ["subject": Self.subjectCommitment, "context": Self.contextCommitment, "hash": Self.hash]
            ])
    }

    @Test("customerd audit verify computes the same")
    func inSwift() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run(
            """
            INSERT INTO audit.entries SELECT (\(Self.entry)).*;
            INSERT INTO audit.heads SELECT app_id, seq, hash FROM audit.entries
            """)

        let (status, verdict) = try await database.verify()

        #expect(status == 0)
        #expect(verdict == Verdict(entries: 1, verified: 1))
        try await database.drop()
    }

    /// RFC 4231, test cases 1 to 4; a shorter key is filled up with zeros, so these are keys of 32 bytes as well.
    @Test(
        "audit.hmac_sha256 is that of RFC 4231",
        arguments: [
            (
                String(repeating: "0b", count: 20), "4869205468657265",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                String(repeating: "aa", count: 20), String(repeating: "dd", count: 50),
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
            ),
            (
                "0102030405060708090a0b0c0d0e0f10111213141516171819", String(repeating: "cd", count: 50),
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
            ),
        ])
    func hmac(key: String, message: String, expected: String) async throws {
        let database = try await Shared.database.value

        let computed = try await database.value(
            "SELECT encode(audit.hmac_sha256(decode(rpad($1, 64, '0'), 'hex'), decode($2, 'hex')), 'hex')",
            [.text(key), .text(message)]
        )

        #expect(computed == expected)
    }
}
