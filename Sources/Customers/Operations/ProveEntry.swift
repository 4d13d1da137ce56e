import LibPQ

extension ReadOperation {
    /// The newest checkpoint of the app's chain, as text. Source: C2SP, tlog-checkpoint.
    static let getCheckpoint = queries("/audit/checkpoint", [.readAudit]) { request throws(Invalidity) in
        { connection, caller throws(DatabaseError) in
            let proofs = EntryProofs(connection: connection, deadline: request.deadline)
            return try answer(try await proofs.checkpoint(of: caller.appID), Answer.text)
        }
    }

    /// The proof that an entry stands in a chain that was signed, as text. Source: C2SP, tlog-proof.
    static let proveAuditEntry = queries("/audit/{id}/proof", [.readAudit]) { request throws(Invalidity) in
        let id = try request.pathID()
        return { connection, caller throws(DatabaseError) in
            let proofs = EntryProofs(connection: connection, deadline: request.deadline)
            return try answer(try await proofs.proof(of: id, app: caller.appID)) { .text($0.text) }
        }
    }

    /// The certificate of an entry. Subject data that a redaction is about to erase is never disclosed.
    static let certifyAuditEntry = queries("/audit/{id}/certificate", [.readAudit]) {
        request throws(Invalidity) in
        let id = try request.pathID()
        let choices = Invalidity.invalidChoice(name: "disclose", ["subject", "context", "subject,context"])
        let asked = try request.parameters.value("disclose", orElse: choices) { Certificate.Part.set($0) } ?? []
        return { connection, caller throws(DatabaseError) in
            var disclosed = asked
            if disclosed.contains(.subject), try await isHidden(id, caller, connection, request.deadline) {
                disclosed.remove(.subject)
            }
            let proofs = EntryProofs(connection: connection, deadline: request.deadline)
            return try answer(try await proofs.certificate(of: id, app: caller.appID, disclosing: disclosed)) { found in
                Answer(status: 200, body: found.certificate.json.text)
            }
        }
    }

    /// A trail that isn't what was signed is nothing that the client can do something about: 500, and the log says why.
    private static func answer<Value>(
        _ found: EntryProofs.Found<Value>, _ answer: (Value) -> Answer
    ) throws(DatabaseError) -> Answer {
        switch found {
        case .found(let value): return answer(value)
        case .noEntry: return APIError.auditEntryNotFound.answer
        case .noCheckpoint: return APIError.checkpointNotFound.answer
        case .broken(let reason): throw .unexpected("nothing is certified: \(reason)")
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
