import Crypto

@testable import AuditTrail

/// What a forger can do who knows how the chain is made and can write every row.
enum ChainForger {
    /// Makes commitments and hashes anew, each entry onto the one before.
    static func recompute(_ rows: [ChainRow], after previous: ChainRow?) -> [ChainRow] {
        var hash = previous?[.hash] ?? String(repeating: "0", count: 64)
        var seq = previous?[.seq].flatMap { Int($0) } ?? 0
        return rows.map { row in
            var row = row
            seq += 1
            row[.seq] = String(seq)
            row[.subjectCommitment] = commitment(row, CanonicalForm.subject, .subjectSalt) ?? row[.subjectCommitment]
            row[.contextCommitment] = commitment(row, CanonicalForm.context, .contextSalt) ?? row[.contextCommitment]
            row[.previousHash] = hash
            hash = self.hash(of: row)
            row[.hash] = hash
            return row
        }
    }

    /// The tree of a chain's first entries.
    static func tree(_ rows: some Sequence<ChainRow>, app: String) -> TreeHead {
        var edge = TreeEdge()
        for row in rows { edge.append(leaf: MerkleHash.leaf(row.bytes(.hash) ?? [])) }
        return TreeHead(appID: app, size: edge.size, root: edge.root)
    }

    static func hash(of row: ChainRow) -> String {
        var digest = SHA256()
        digest.update(data: CanonicalForm(CanonicalForm.entry, of: row).bytes)
        for column in [ChainRow.Column.subjectCommitment, .contextCommitment, .previousHash] {
            digest.update(data: row.bytes(column) ?? [])
        }
        return Array(digest.finalize()).hex
    }

    private static func commitment(
        _ row: ChainRow, _ members: CanonicalForm.Members, _ salt: ChainRow.Column
    ) -> String? {
        row.bytes(salt).map { salt in
            let form = CanonicalForm(members, of: row)
            return Array(HMAC<SHA256>.authenticationCode(for: form.bytes, using: SymmetricKey(data: salt))).hex
        }
    }
}
