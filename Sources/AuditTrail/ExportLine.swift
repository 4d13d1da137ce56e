/// A line of an export: an entry, with the head of its chain if it is the last; or a head without an entry.
struct ExportLine: Sendable, Hashable {
    let row: ChainRow?
    let head: ChainHead?

    init(row: ChainRow?, head: ChainHead?) {
        self.row = row
        self.head = head
    }
}

// MARK: - Writing

extension ExportLine {
    /// The line with its line feed.
    var bytes: [UInt8] {
        var members = row.map(Self.members) ?? []
        if let head {
            if row == nil { members.append(.init(name: ChainRow.Column.appID.rawValue, value: .string(head.appID))) }
            members.append(.init(name: "head_seq", value: .int(head.seq)))
            members.append(.init(name: "head_hash", value: .string(head.hash.hex)))
        }
        return Array("\(JSON.object(members).text)\n".utf8)
    }

    private static func members(of row: ChainRow) -> [JSON.Member] {
        ChainRow.Column.allCases.map { column in
            let text = row[column]
            let value: JSON =
                if column.isNumber {
                    .raw(text)
                } else if column.isTime {
                    .string(text.map(time))
                } else {
                    .string(text)
                }
            return JSON.Member(name: column.rawValue, value: value)
        }
    }

    /// A time without an RFC 3339 form, such as a year of five digits or infinity, stands as PostgreSQL's microseconds.
    static func time(_ microseconds: String) -> String {
        Int64(microseconds).flatMap { Timestamp(microseconds: $0).rfc3339 } ?? microseconds
    }
}

// MARK: - Reading

extension ExportLine {
    /// Why a line isn't one.
    struct Malformed: Error {
        let reason: String
    }

    private static let columns = Dictionary(
        uniqueKeysWithValues: ChainRow.Column.allCases.map { ($0.rawValue, $0) }
    )

    /// Reads a line strictly: every column once, of its type, and nothing else, so that nothing can be added to an entry
    /// that its hash doesn't cover.
    init(_ line: some Sequence<UInt8>) throws(Malformed) {
        var row = ChainRow()
        var columns = 0
        var headSeq: Int?
        var headHash: [UInt8]?
        for (name, value) in try FlatJSON.members(of: Array(line)) {
            if let column = Self.columns[name] {
                row[column] = try Self.text(of: value, in: column)
                columns += 1
            } else if name == "head_seq", case .number(let text) = value, let seq = Int(text), seq >= 0 {
                headSeq = seq
            } else if name == "head_hash", case .string(let text) = value, let hash = [UInt8](hex: text) {
                headHash = hash
            } else {
                throw Malformed(reason: "an unknown member or a wrong value: \(name)")
            }
        }
        let appID = row[.appID] ?? ""
        switch (headSeq, headHash) {
        case (let seq?, let hash?): head = ChainHead(appID: appID, seq: seq, hash: hash)
        case (nil, nil): head = nil
        default: throw Malformed(reason: "head_seq and head_hash must come together")
        }
        let isEntry = columns == ChainRow.Column.allCases.count
        guard isEntry || columns == 1 && !appID.isEmpty && head != nil else {
            throw Malformed(reason: "a column is missing")
        }
        self.row = isEntry ? row : nil
    }

    private static func text(of value: FlatJSON.Value, in column: ChainRow.Column) throws(Malformed) -> String? {
        switch value {
        case .null: return nil
        case .number(let text) where column.isNumber: return text
        case .string(let text) where column.isTime: return microseconds(text)
        case .string(let text) where !column.isNumber: return text
        default: throw Malformed(reason: "\(column.rawValue) has the wrong type")
        }
    }

    /// The inverse of ``time(_:)``.
    static func microseconds(_ time: String) -> String {
        Timestamp(rfc3339: time).map { String($0.microseconds) } ?? time
    }
}

// MARK: - Verifying

/// Proves an export without a database, line by line in constant memory, as ``ChainVerifier`` proves the database.
///
/// Source: docs/audit-chain.md.
public struct ExportVerifier: Sendable {
    private let app: String?
    private var walk: ChainWalk
    private var lines = 0
    private var verdict: ChainVerdict?

    /// - Parameters:
    ///   - app: the chain to verify, the zero UUID for the chain of unauthenticated attempts; nil for all in the export.
    ///   - checkpoints: what was signed of these chains, of some of them more than once.
    public init(app: UUID?, checkpoints: [ChainHead] = []) {
        self.app = app?.text
        walk = ChainWalk(checkpoints: checkpoints)
    }

    /// Takes the next line, with or without the line feed at its end.
    public mutating func take(line: some Sequence<UInt8>) {
        lines += 1
        guard verdict == nil else { return }
        do {
            let line = try ExportLine(line)
            guard app == nil || app == line.row?[.appID] ?? line.head?.appID else { return }
            if let row = line.row { walk.take(ChainEntry(row)) }
            if let head = line.head { walk.take(head) }
        } catch {
            verdict = walk.stop("line \(lines) isn't an entry: \(error.reason)")
        }
    }

    /// - Returns: what was found, once the last line was taken.
    public mutating func finish() -> ChainVerdict {
        verdict ?? walk.finish()
    }
}
