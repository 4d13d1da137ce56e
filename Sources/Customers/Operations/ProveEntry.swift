import LibPQ

extension AuditQueries {
    /// The proof that an entry stands in a chain that was signed, as text. Source: C2SP, tlog-proof.
    public func proof(
        _ id: Result<UUID, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readAudit], id, deadline: deadline) {
            connection, caller, id, deadline throws(DatabaseError) in
            let proofs = EntryProofs(connection: connection, deadline: deadline)
            switch try await proofs.proof(of: id, app: caller.appID) {
            case .found(let proof): return .text(proof.text)
            case .noEntry: return APIError.auditEntryNotFound.answer
            case .noCheckpoint: return APIError.checkpointNotFound.answer
            }
        }
    }

    /// The newest checkpoint of the app's chain, as text. Source: C2SP, tlog-checkpoint.
    public func checkpoint(_ credentials: Credentials, deadline: ContinuousClock.Instant) async -> Answer {
        await read(credentials, [.readAudit], Result<Void, Invalidity>.success(()), deadline: deadline) {
            connection, caller, _, deadline throws(DatabaseError) in
            let proofs = EntryProofs(connection: connection, deadline: deadline)
            guard let note = try await proofs.checkpoint(of: caller.appID) else {
                return APIError.checkpointNotFound.answer
            }
            return .text(note)
        }
    }

    /// The certificate of an entry. Subject data that a redaction is about to erase is never disclosed.
    public func certificate(
        _ search: Result<CertificateSearch, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readAudit], search, deadline: deadline) {
            connection, caller, search, deadline throws(DatabaseError) in
            var disclosed = search.disclosed
            if disclosed.contains(.subject), try await Self.isHidden(search.id, caller, connection, deadline) {
                disclosed.remove(.subject)
            }
            let proofs = EntryProofs(connection: connection, deadline: deadline)
            switch try await proofs.certificate(of: search.id, app: caller.appID, disclosing: disclosed) {
            case .found((let certificate, _)): return Answer(status: 200, body: certificate.json.text)
            case .noEntry: return APIError.auditEntryNotFound.answer
            case .noCheckpoint: return APIError.checkpointNotFound.answer
            }
        }
    }

    private static func isHidden(
        _ id: UUID, _ caller: Caller, _ connection: Connection, _ deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Bool {
        let rows = try await connection.query(
            Statement(
                """
                SELECT service.is_under_redaction(e.app_id, e.customer_id, e.seq)
                FROM audit.entries AS e
                WHERE e.app_id = $1 AND e.id = $2
                """,
                [.uuid(caller.appID), .uuid(id)]
            ),
            deadline: deadline
        ).rows
        return rows.first?.bool(0) ?? false
    }
}

/// Of which entry a certificate is asked for, and what it shall disclose.
public struct CertificateSearch: Sendable, Hashable {
    public var id: UUID
    public var disclosed: Set<Certificate.Part>

    public init(id: UUID, disclosed: Set<Certificate.Part>) {
        self.id = id
        self.disclosed = disclosed
    }
}
