public import LibPQ

/// Exports the trail, so that it can be verified without the database: one JSON object per line and entry, by app
/// and seq, page by page in constant memory. A slow reader holds up no snapshot of the database.
///
/// Source: docs/audit-chain.md, "Export".
public struct ChainExport: Sendable {
    /// About how many bytes are written at once.
    private static let chunk = 65_536

    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Parameters:
    ///   - app: the chain to write, the zero UUID for the chain of unauthenticated attempts; nil for all.
    ///   - from: where to begin in each chain; nil for its first entry.
    ///   - to: where to end in each chain; nil for its last entry.
    ///   - write: takes the next bytes, which end with a line. An error that it throws ends the export.
    /// - Throws: ``DatabaseError``, or what `write` throws.
    public func callAsFunction(
        app: UUID?, from: ChainBound? = nil, to: ChainBound? = nil, deadline: ContinuousClock.Instant,
        write: ([UInt8]) throws -> Void
    ) async throws {
        let reader = ChainReader(connection: connection, deadline: deadline)
        for chain in try await reader.chains(app) {
            guard let (first, last) = try await reader.range(of: chain, from: from, to: to) else { continue }
            let isPart = first > 1 || last != nil
            // Only the next page tells whether the last entry of a full page is the last of its chain.
            var pending: ChainRow?
            try await reader.pages(of: chain, after: isPart ? first - 1 : nil, upTo: last) { page in
                var bytes: [UInt8] = []
                if isPart, pending == nil, let hash = page.rows.first?.bytes(.previousHash) {
                    let start = ChainHead(appID: chain, seq: first - 1, hash: hash)
                    bytes += ExportLine.part(ChainPart(start: start, last: last)).bytes
                }
                for row in page.rows {
                    if let pending { bytes += ExportLine.entry(pending, head: nil).bytes }
                    pending = row
                    if bytes.count >= Self.chunk {
                        try write(bytes)
                        bytes.removeAll(keepingCapacity: true)
                    }
                }
                if page.isLast {
                    let head = last == nil ? page.head : nil
                    if let pending {
                        bytes += ExportLine.entry(pending, head: head).bytes
                    } else if !isPart, let head, head != .genesis(chain) {
                        bytes += ExportLine.head(head).bytes
                    }
                }
                try write(bytes)
            }
        }
    }
}
