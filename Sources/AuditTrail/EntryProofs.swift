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
    }

    private let connection: Connection
    private let deadline: ContinuousClock.Instant

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection, deadline: ContinuousClock.Instant) {
        self.connection = connection
        self.deadline = deadline
    }

    /// The newest checkpoint of a chain as it was published; nil while there is none.
    public func checkpoint(of app: UUID) async throws(DatabaseError) -> String? {
        try await KeptCheckpoints(connection: connection, deadline: deadline).newest(of: app.text)?.note
    }

    /// - Parameter app: the only chain in which the entry may be; nil for any.
    public func proof(of id: UUID, app: UUID?) async throws(DatabaseError) -> Found<InclusionProof> {
        switch try await material(id, app) {
        case .found(let material): .found(material.proof)
        case .noEntry: .noEntry
        case .noCheckpoint: .noCheckpoint
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
            Statement(Self.entry(inKnownChain: app != nil), [.uuid(id), .uuid(app)]), deadline: deadline
        ).rows
        guard let row = rows.first else { return .noEntry }
        let entry = ChainRow(row)
        guard let seq = entry[.seq].flatMap({ Int($0) }), let chain = entry[.appID],
            let isRedacted = row.bool(ChainRow.Column.allCases.count)
        else { throw .unexpected("an entry has no seq") }
        let kept = try await KeptCheckpoints(connection: connection, deadline: deadline).newest(
            of: chain, covering: seq)
        guard let kept else { return .noCheckpoint }
        guard kept.fault == nil, let checkpoint = try? Checkpoint(kept.note) else {
            throw .unexpected(kept.fault ?? "a checkpoint isn't a note")
        }
        let tree = TreeReader(connection: connection, app: chain, deadline: deadline)
        let hashes = try await tree.inclusionProof(of: seq - 1, in: kept.head)
        let proof = InclusionProof(index: seq - 1, hashes: hashes, checkpoint: checkpoint)
        return .found(Material(row: entry, isRedacted: isRedacted, proof: proof, publicKey: kept.publicKey))
    }

    /// - Parameter isKnown: whether $2 is the chain; else it is NULL. In a distributed database a known one is asked for on its
    ///   node alone.
    private static func entry(inKnownChain isKnown: Bool) -> String {
        """
        SELECT \(ChainReader.columns),
               EXISTS (SELECT
                       FROM audit.entries AS r
                       WHERE r.app_id = \(isKnown ? "$2::uuid" : "e.app_id")
                         AND r.customer_id = e.customer_id
                         AND r.seq > e.seq
                         AND r.action = 'customer.redact'
                         AND r.outcome = 'SUCCEEDED')
        FROM audit.entries AS e
        WHERE e.id = $1::uuid AND \(isKnown ? "e.app_id = $2::uuid" : "$2::uuid IS NULL")
        """
    }
}
