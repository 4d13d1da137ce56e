import LibPQ
import TestSupport

extension Tenant {
    /// Makes the database's clock step, as the attempts that have no entry yet and the work of a table see it: what they
    /// began and wait for lies so much nearer, or so much further away when it steps back.
    ///
    /// - Parameter step: such as `1 hour`, or `-1 hour`.
    func setClock(_ table: String, by step: String) async throws {
        try await database.rows(
            """
            UPDATE service.attempts
            SET admitted_at = admitted_at - $2::interval, lease_expires_at = lease_expires_at - $2::interval
            WHERE app_id = $1 AND entry_seq IS NULL
            """, [.text(app), .text(step)])
        try await database.rows(
            "UPDATE \(table) SET try_after = try_after - $2::interval WHERE app_id = $1", [.text(app), .text(step)])
    }
}
