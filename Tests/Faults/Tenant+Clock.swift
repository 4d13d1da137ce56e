import LibPQ
import TestSupport

extension Tenant {
    /// Makes the database's clock step back by an hour, as the attempts that have no entry yet and the work of a table see
    /// it: what they began and wait for lies an hour later.
    func setClockBack(_ table: String) async throws {
        try await database.rows(
            """
            UPDATE service.attempts
            SET admitted_at = admitted_at + interval '1 hour', lease_expires_at = lease_expires_at + interval '1 hour'
            WHERE app_id = $1 AND entry_seq IS NULL
            """, [.text(app)])
        try await database.rows(
            "UPDATE \(table) SET try_after = try_after + interval '1 hour' WHERE app_id = $1", [.text(app)])
    }
}
