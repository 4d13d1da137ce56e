/// A line of an export.
enum ExportLine: Sendable, Hashable {
    /// An entry, with the head of its chain if it is the last.
    case entry(ChainRow, head: ChainHead?)
    /// The head of a chain that has no entries.
    case head(ChainHead)
    /// Says before its entries that a chain is exported in part.
    case part(ChainPart)

    var appID: String {
        switch self {
        case .entry(let row, _): row[.appID] ?? ""
        case .head(let head): head.appID
        case .part(let part): part.start.appID
        }
    }
}

// MARK: - Writing

extension ExportLine {
    /// The line with its line feed.
    var bytes: [UInt8] {
        let app = JSON.Member(name: ChainRow.Column.appID.rawValue, value: .string(appID))
        let members =
            switch self {
            case .entry(let row, let head): Self.members(of: row) + (head.map(Self.members) ?? [])
            case .head(let head): [app] + Self.members(of: head)
            case .part(let part):
                [
                    app, .init(name: "part_after", value: .int(part.start.seq)),
                    .init(name: "part_after_hash", value: .string(part.start.hash.hex)),
                    .init(name: "part_last", value: .int(part.last)),
                ]
            }
        return Array("\(JSON.object(members).text)\n".utf8)
    }

    private static func members(of head: ChainHead) -> [JSON.Member] {
        [.init(name: "head_seq", value: .int(head.seq)), .init(name: "head_hash", value: .string(head.hash.hex))]
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
        var others: [String: JSONReader.Value] = [:]
        for member in try Self.members(of: Array(line)) {
            if let column = Self.columns[member.name] {
                row[column] = try Self.text(of: member.value, in: column)
                columns += 1
            } else {
                others[member.name] = member.value
            }
        }
        let app = row[.appID] ?? ""
        let isEntry = columns == ChainRow.Column.allCases.count
        guard isEntry || columns == 1 && !app.isEmpty else { throw Malformed(reason: "a column is missing") }
        switch Set(others.keys) {
        case [] where isEntry:
            self = .entry(row, head: nil)
        case ["head_seq", "head_hash"]:
            let head = try Self.head(app, others["head_seq"], others["head_hash"])
            self = isEntry ? .entry(row, head: head) : .head(head)
        case ["part_after", "part_after_hash", "part_last"] where !isEntry:
            let start = try Self.head(app, others["part_after"], others["part_after_hash"])
            self = .part(ChainPart(start: start, last: try others["part_last"].flatMap(Self.seq)))
        default: throw Malformed(reason: "unknown or missing members")
        }
    }

    private static func members(of line: [UInt8]) throws(Malformed) -> [JSONReader.Member] {
        do throws(JSONReader.Malformed) {
            if case .object(let members) = try JSONReader.value(of: line) { return members }
        } catch {
            throw Malformed(reason: "\(error.reason), at byte \(error.byte)")
        }
        throw Malformed(reason: "it isn't an object")
    }

    private static func head(
        _ app: String, _ seq: JSONReader.Value?, _ hash: JSONReader.Value?
    ) throws(Malformed) -> ChainHead {
        guard let seq = try seq.flatMap(Self.seq), case .string(let text)? = hash, let hash = [UInt8](hex: text) else {
            throw Malformed(reason: "a head or the start of a part is malformed")
        }
        return ChainHead(appID: app, seq: seq, hash: hash)
    }

    /// - Returns: nil for null.
    private static func seq(_ value: JSONReader.Value) throws(Malformed) -> Int? {
        switch value {
        case .null: return nil
        case .number(let text):
            if isWhole(text), let seq = Int(text), seq >= 0 { return seq }
            fallthrough
        default: throw Malformed(reason: "a seq is malformed")
        }
    }

    private static func text(of value: JSONReader.Value, in column: ChainRow.Column) throws(Malformed) -> String? {
        switch value {
        case .null: return nil
        case .number(let text) where column.isNumber && isWhole(text): return text
        case .string(let text) where column.isTime: return microseconds(text)
        case .string(let text) where !column.isNumber: return text
        default: throw Malformed(reason: "\(column.rawValue) has the wrong type")
        }
    }

    /// Whether a number is written as PostgreSQL writes a bigint.
    private static func isWhole(_ number: String) -> Bool {
        Int(number).map(String.init) == number
    }

    /// The inverse of ``time(_:)``.
    static func microseconds(_ time: String) -> String {
        Timestamp(rfc3339: time).map { String($0.microseconds) } ?? time
    }
}
