public import LibPQ

/// Writes the trail out, so that it can be verified where there is no database: one JSON object a line and an entry,
/// by app and seq, from one snapshot, in constant memory.
///
/// Source: docs/audit-chain.md, "Export".
public struct ChainExport: Sendable {
    /// About how many bytes are handed over at once.
    private static let chunk = 65_536

    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Parameters:
    ///   - app: the chain to write, the zero UUID for that of strangers; nil for all.
    ///   - write: takes the next bytes, which end with a line. What it throws ends the export.
    /// - Returns: how many entries were written.
    public func callAsFunction(
        app: UUID?, deadline: ContinuousClock.Instant, to write: @escaping @Sendable ([UInt8]) throws -> Void
    ) async throws -> Int {
        try await ChainSnapshot.read(connection, deadline: deadline) { snapshot in
            var lines = Lines(heads: try await snapshot.heads(of: app))
            lines = try await snapshot.entries(of: app, into: lines) { lines, row in
                lines.take(row)
                if lines.bytes.count >= Self.chunk { try write(lines.drain()) }
            }
            lines.finish()
            try write(lines.drain())
            return lines.entries
        }
    }

    /// Lines that wait to be written.
    struct Lines: Sendable {
        private(set) var bytes: [UInt8] = []
        private(set) var entries = 0
        /// Heads of chains whose last entry isn't written.
        private var heads: [String: ChainHead]
        /// The entry read last: whether it is the last of its chain, the next one tells.
        private var pending: ChainRow?

        init(heads: [ChainHead]) {
            self.heads = Dictionary(heads.map { ($0.appID, $0) }) { $1 }
        }

        mutating func take(_ row: ChainRow) {
            flush(before: row[.appID])
            pending = row
            entries += 1
        }

        mutating func finish() {
            flush(before: nil)
            for head in heads.values.sorted(by: { $0.appID < $1.appID }) where head != .genesis(head.appID) {
                append([.init(name: ChainRow.Column.appID.rawValue, value: .string(head.appID))] + head.members)
            }
            heads = [:]
        }

        mutating func drain() -> [UInt8] {
            defer { bytes.removeAll(keepingCapacity: true) }
            return bytes
        }

        private mutating func flush(before next: String?) {
            guard let row = pending else { return }
            pending = nil
            let isLast = row[.appID] != next
            let head = isLast ? heads.removeValue(forKey: row[.appID] ?? "") : nil
            append(row.members + (head?.members ?? []))
        }

        private mutating func append(_ members: [JSON.Member]) {
            bytes += JSON.object(members).text.utf8
            bytes.append(UInt8(ascii: "\n"))
        }
    }
}

extension ChainRow {
    fileprivate var members: [JSON.Member] {
        Column.allCases.map { column in
            let text = self[column]
            let value: JSON =
                if column.isNumber {
                    .raw(text)
                } else if column.isTime {
                    .string(text.map { ExportTime.text(microseconds: $0) })
                } else {
                    .string(text)
                }
            return JSON.Member(name: column.rawValue, value: value)
        }
    }
}

extension ChainHead {
    fileprivate var members: [JSON.Member] {
        [.init(name: "head_seq", value: .int(seq)), .init(name: "head_hash", value: .string(hash.hex))]
    }
}
