public import LibPQ

/// Proofs about single entries, from the database: against the newest checkpoint that covers them. The work is that of a
/// few hundred rows, however long the chain is.
public struct EntryProofs: Sendable {
    /// What came of the question.
    public enum Found<Value: Sendable>: Sendable {
        case found(Value)
        case noEntry
        /// Nothing that covers the entry was signed yet.
        case noCheckpoint
        /// The entry or the tree isn't what was signed: nothing is certified. The end of a sentence.
        case broken(String)
    }

    private let connection: Connection
    private let deadline: ContinuousClock.Instant

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection, deadline: ContinuousClock.Instant) {
        self.connection = connection
        self.deadline = deadline
    }

    /// The newest checkpoint of a chain as it was published.
    public func checkpoint(of app: UUID) async throws(DatabaseError) -> Found<String> {
        let tree = TreeReader(connection: connection, app: app.text, deadline: deadline)
        let found = try await kept.newest(of: app.text) { kept, _ throws(DatabaseError) in
            try await tree.has(kept.head) ? kept.note : nil
        }
        switch found {
        case .value(let note): return .found(note)
        case .nothing: return .noCheckpoint
        case .disagreement(let reason): return .broken(reason)
        }
    }

    private var kept: KeptCheckpoints { KeptCheckpoints(connection: connection, deadline: deadline) }

    /// - Parameter app: the only chain in which the entry may be; nil for any.
    public func proof(of id: UUID, app: UUID?) async throws(DatabaseError) -> Found<InclusionProof> {
        switch try await material(id, app) {
        case .found(let material): .found(material.proof)
        case .noEntry: .noEntry
        case .noCheckpoint: .noCheckpoint
        case .broken(let reason): .broken(reason)
        }
    }

    /// - Parameters:
    ///   - app: the only chain in which the entry may be; nil for any.
    ///   - disclosed: the parts to show. The subject data of a customer that a later entry declares redacted isn't shown,
    ///     erased or not.
    /// - Returns: the certificate, and the verifier key of its checkpoint as the database has it.
    public func certificate(
        of id: UUID, app: UUID?, disclosing disclosed: Set<Certificate.Part>
    ) async throws(DatabaseError) -> Found<(certificate: Certificate, publicKey: String)> {
        switch try await material(id, app) {
        case .found(let material):
            let hidden: Set<Certificate.Part> = material.isRedacted ? [.subject] : []
            let certificate = Certificate(
                material.row, disclosing: disclosed.subtracting(hidden), proof: material.proof)
            return .found((certificate, material.publicKey))
        case .noEntry: return .noEntry
        case .noCheckpoint: return .noCheckpoint
        case .broken(let reason): return .broken(reason)
        }
    }

    private struct Material: Sendable {
        let row: ChainRow
        let isRedacted: Bool
        let proof: InclusionProof
        let publicKey: String
    }

    private func material(_ id: UUID, _ app: UUID?) async throws(DatabaseError) -> Found<Material> {
        let rows = try await connection.query(
            Statement(Self.entry, [.uuid(id), .uuid(app)]), deadline: deadline
        ).rows
        guard let row = rows.first else { return .noEntry }
        let entry = ChainRow(row)
        guard let seq = entry[.seq].flatMap({ Int($0) }), let chain = entry[.appID],
            let isRedacted = row.bool(ChainRow.Column.allCases.count)
        else { throw .unexpected("an entry has no seq") }
        let verified = ChainEntry(entry)
        // What doesn't have its own hash would be a certificate that no verifier takes.
        if let fault = verified.fault { return .broken("entry \(seq) of app \(chain) was changed: \(fault)") }
        let tree = TreeReader(connection: connection, app: chain, deadline: deadline)
        let found = try await kept.newest(of: chain, covering: seq) { kept, checkpoint throws(DatabaseError) in
            let leaf = MerkleHash.leaf(verified.hash)
            let hashes = try await tree.inclusionProof(of: seq - 1, leaf: leaf, in: kept.head)
            return hashes.map { hashes in
                let proof = InclusionProof(index: seq - 1, hashes: hashes, checkpoint: checkpoint)
                return Material(row: entry, isRedacted: isRedacted, proof: proof, publicKey: kept.publicKey)
            }
        }
        switch found {
        case .value(let material): return .found(material)
        case .nothing: return .noCheckpoint
        case .disagreement(let reason):
            return .broken("entry \(seq) of app \(chain) isn't in the tree that was signed: \(reason)")
        }
    }

    private static let entry = """
        SELECT \(ChainReader.columns),
               EXISTS (SELECT
                       FROM audit.entries AS r
                       WHERE r.app_id = e.app_id
                         AND r.customer_id = e.customer_id
                         AND r.seq > e.seq
                         AND r.action = 'customer.redact'
                         AND r.outcome = 'SUCCEEDED')
        FROM audit.entries AS e
        WHERE e.id = $1::uuid AND ($2::uuid IS NULL OR e.app_id = $2)
        """
}
