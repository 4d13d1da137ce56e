public import LibPQ

/// Writes the trail out, so that it can be verified without the database: one JSON object a line and an entry, by app
/// and seq, page by page in constant memory. A slow reader holds up no snapshot of the database.
///
/// Source: docs/audit-chain.md, "Export".
public struct ChainExport: Sendable {
    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Parameters:
    ///   - app: the chain to write, the zero UUID for the chain of unauthenticated attempts; nil for all.
    ///   - write: takes the next bytes, which end with a line. An error that it throws ends the export.
    /// - Throws: ``DatabaseError``, or what `write` throws.
    public func callAsFunction(
        app: UUID?, deadline: ContinuousClock.Instant, to write: ([UInt8]) throws -> Void
    ) async throws {
        let reader = ChainReader(connection: connection, deadline: deadline)
        for chain in try await reader.chains(app) {
            // Only the next page tells whether the last entry of a full page is the last of its chain.
            var pending: ChainRow?
            try await reader.pages(of: chain) { page in
                var bytes: [UInt8] = []
                for row in page.rows {
                    if let pending { bytes += ExportLine(row: pending, head: nil).bytes }
                    pending = row
                }
                if page.isLast, pending != nil || page.head != nil && page.head != .genesis(chain) {
                    bytes += ExportLine(row: pending, head: page.head).bytes
                }
                try write(bytes)
            }
        }
    }
}
