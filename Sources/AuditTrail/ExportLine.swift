/// A line of an export: an entry, with the head of its chain if it is the last; or a head without an entry.
struct ExportLine: Sendable {
    /// Why a line isn't one.
    struct Malformed: Error {
        let reason: String
    }

    let row: ChainRow?
    let head: ChainHead?
}

extension ExportLine {
    private static let columns = Dictionary(
        uniqueKeysWithValues: ChainRow.Column.allCases.map { ($0.rawValue, $0) }
    )

    /// Reads a line, strictly: every column once, of its type, and nothing else, so that nobody can add to an entry
    /// what its hash doesn't cover.
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
                throw Malformed(reason: "there is no member \(name) with such a value")
            }
        }
        let appID = row[.appID] ?? ""
        switch (headSeq, headHash) {
        case (let seq?, let hash?): head = ChainHead(appID: appID, seq: seq, hash: hash)
        case (nil, nil): head = nil
        default: throw Malformed(reason: "a head has both head_seq and head_hash")
        }
        let isEntry = columns == ChainRow.Column.allCases.count
        guard isEntry || columns == 1 && !appID.isEmpty && head != nil else {
            throw Malformed(reason: "not every column is there")
        }
        self.row = isEntry ? row : nil
    }

    private static func text(of value: FlatJSON.Value, in column: ChainRow.Column) throws(Malformed) -> String? {
        switch value {
        case .null: return nil
        case .number(let text) where column.isNumber: return text
        case .string(let text) where column.isTime: return ExportTime.microseconds(text)
        case .string(let text) where !column.isNumber: return text
        default: throw Malformed(reason: "\(column.rawValue) is of the wrong type")
        }
    }
}
