import Foundation
import TestSupport

@testable import AuditTrail

/// An alteration of an export of one chain.
struct Alteration {
    enum Kind: CaseIterable {
        case columnChanged
        case entryRemoved
        case entriesSwapped
        case contentsSwapped
        case tailCut
        case tailCutWithHead
        case recomputed
        case recomputedWithHead
        case entryInserted
        case entryInsertedWithHead
        case saltChanged
        case commitmentChanged
        case imageTaken
        case erasedWithoutRedaction
        case redactionForged
        case headChanged
        case lineDamaged

        /// Whether a chain alone shows it.
        var needsCheckpoint: Bool {
            switch self {
            case .tailCutWithHead, .recomputedWithHead, .entryInsertedWithHead: true
            default: false
            }
        }

        /// How often of a thousand.
        var weight: Int {
            switch self {
            case .columnChanged: 400
            case .tailCutWithHead: 56
            case .recomputed, .recomputedWithHead, .entryInsertedWithHead: 20
            case .entriesSwapped, .entryRemoved, .entryInserted, .saltChanged, .commitmentChanged: 60
            case .erasedWithoutRedaction: 40
            default: 24
            }
        }
    }

    /// Lines in place of others.
    struct Splice: Encodable {
        var from: Int
        var to: Int
        var lines: [String]
    }

    let kind: Kind
    /// The column that was changed.
    let column: ChainRow.Column?
    var splices: [Splice]
    /// Whether the verifier is told the checkpoints.
    var signed: Bool
}

/// Makes alterations of a chain.
struct Alterations {
    let rows: [ChainRow]
    var random: SeededGenerator

    /// What an alteration does in the end stays among the last entries, since entries are slow to make anew.
    private static let longestForgery = 400

    private var head: ChainHead {
        let last = rows[rows.count - 1]
        return ChainHead(appID: last[.appID] ?? "", seq: rows.count, hash: last.bytes(.hash) ?? [])
    }

    init(rows: [ChainRow], seed: UInt64) {
        self.rows = rows
        random = SeededGenerator(seed: seed)
    }

    /// A thousand of all kinds, the same every time.
    mutating func thousand() -> [Alteration] {
        Alteration.Kind.allCases.flatMap { kind in (0..<kind.weight).map { make(kind, number: $0) } }
    }

    private mutating func make(_ kind: Alteration.Kind, number: Int) -> Alteration {
        var column: ChainRow.Column?
        let splices: [Alteration.Splice]
        switch kind {
        case .columnChanged:
            let columns = ChainRow.Column.allCases
            column = columns[number % columns.count]
            splices = change(at: anywhere(), columns[number % columns.count])
        case .entryRemoved: splices = removal()
        case .entriesSwapped: splices = swap(wholly: true)
        case .contentsSwapped: splices = swap(wholly: false)
        case .tailCut: splices = cut(movingHead: false)
        case .tailCutWithHead: splices = cut(movingHead: true)
        case .recomputed: splices = forgery(movingHead: false)
        case .recomputedWithHead: splices = forgery(movingHead: true)
        case .entryInserted:
            let index = anywhere()
            var row = rows[index]
            row[.id] = UUID().text
            splices = [.init(from: index, to: index, lines: [text(row)])]
        case .entryInsertedWithHead: splices = insertion()
        case .saltChanged:
            splices = change(at: anywhere(), Bool.random(using: &random) ? .subjectSalt : .contextSalt)
        case .commitmentChanged:
            splices = change(at: anywhere(), Bool.random(using: &random) ? .subjectCommitment : .contextCommitment)
        case .imageTaken: splices = replace(at: anywhere { $0[.beforeImage] != nil }) { $0[.beforeImage] = nil }
        case .erasedWithoutRedaction:
            splices = replace(at: anywhere { $0[.subjectSalt] != nil }, Self.erase)
        case .redactionForged: splices = forgedRedaction()
        case .headChanged: splices = changedHead()
        case .lineDamaged: splices = damage()
        }
        return Alteration(kind: kind, column: column, splices: splices, signed: kind.needsCheckpoint)
    }

    // MARK: - Entries

    private mutating func anywhere(where fits: (ChainRow) -> Bool = { _ in true }) -> Int {
        while true {
            let index = Int.random(in: rows.indices, using: &random)
            if fits(rows[index]) { return index }
        }
    }

    /// The line of an entry; of the last, with the head, which the forger may have moved.
    private func text(_ row: ChainRow, head: ChainHead? = nil) -> String {
        String(decoding: ExportLine.entry(row, head: head).bytes.dropLast(), as: UTF8.self)
    }

    private func replace(at index: Int, _ change: (inout ChainRow) -> Void) -> [Alteration.Splice] {
        var row = rows[index]
        change(&row)
        // The last line also has the head, whatever app its entry claims.
        var line = text(row)
        if index == rows.count - 1 {
            line.removeLast()
            line += ",\"head_seq\":\(head.seq),\"head_hash\":\"\(head.hash.hex)\"}"
        }
        return [.init(from: index, to: index + 1, lines: [line])]
    }

    private mutating func change(at index: Int, _ column: ChainRow.Column) -> [Alteration.Splice] {
        let old = rows[index][column]
        let new = different(from: old, in: column)
        return replace(at: index) { $0[column] = new }
    }

    private mutating func different(from old: String?, in column: ChainRow.Column) -> String? {
        // Often NULL, but nothing else that is as it was.
        if old != nil, Int.random(in: 0..<4, using: &random) == 0, column != .seq, column != .appID { return nil }
        if column.isNumber { return String((Int(old ?? "") ?? 0) + Int.random(in: 1...3, using: &random)) }
        if column.isTime { return old.flatMap { Int($0) }.map { String($0 + (Bool.random(using: &random) ? 1 : -1)) } }
        guard let old, !old.isEmpty else { return "x" }
        var characters = Array(old)
        let index = Int.random(in: characters.indices, using: &random)
        characters[index] = characters[index] == "0" ? "1" : "0"
        return String(characters)
    }

    private mutating func removal() -> [Alteration.Splice] {
        let index = Int.random(in: 0..<rows.count - 1, using: &random)
        return [.init(from: index, to: index + 1, lines: [])]
    }

    private mutating func swap(wholly: Bool) -> [Alteration.Splice] {
        let first = Int.random(in: 0..<rows.count - 2, using: &random)
        let second = Int.random(in: first + 1..<rows.count - 1, using: &random)
        var (upper, lower) = (rows[second], rows[first])
        if !wholly { (upper[.seq], lower[.seq]) = (lower[.seq], upper[.seq]) }
        return [
            .init(from: first, to: first + 1, lines: [text(upper)]),
            .init(from: second, to: second + 1, lines: [text(lower)]),
        ]
    }

    private static func erase(_ row: inout ChainRow) {
        for column in [ChainRow.Column.beforeImage, .reason, .errorMessage, .subjectSalt] { row[column] = nil }
    }

    /// Erases an entry, and gives the redaction of another customer to the customer of that entry.
    private mutating func forgedRedaction() -> [Alteration.Splice] {
        let redaction = anywhere { $0[.action] == "customer.redact" }
        let customer = rows[redaction][.customerID]
        let target = anywhere { $0[.subjectSalt] != nil && $0[.customerID] != customer }
        let forged = rows[target][.customerID]
        return replace(at: redaction) { $0[.customerID] = forged } + replace(at: target, Self.erase)
    }

    // MARK: - Tails

    private mutating func cut(movingHead: Bool) -> [Alteration.Splice] {
        let count = Bool.random(using: &random) ? max(start(), 1) : Int.random(in: 1..<rows.count, using: &random)
        let last = rows[count - 1]
        let moved = ChainHead(appID: head.appID, seq: count, hash: last.bytes(.hash) ?? [])
        return [.init(from: count - 1, to: rows.count, lines: [text(last, head: movingHead ? moved : head)])]
    }

    private mutating func start() -> Int {
        // As likely one entry as ten or a hundred from the end.
        let length = pow(Double(Self.longestForgery), Double.random(in: 0...1, using: &random))
        return rows.count - min(Int(length.rounded(.up)), rows.count)
    }

    private mutating func forgery(movingHead: Bool) -> [Alteration.Splice] {
        let start = start()
        var forged = Array(rows[start...])
        forged[0][.actorName] = "another"
        return tail(from: start, forged, movingHead: movingHead)
    }

    private mutating func insertion() -> [Alteration.Splice] {
        let start = start()
        var row = rows[start]
        row[.id] = UUID().text
        return tail(from: start, [row] + rows[start...], movingHead: true)
    }

    private func tail(from start: Int, _ rows: [ChainRow], movingHead: Bool) -> [Alteration.Splice] {
        let forged = ChainForger.recompute(rows, after: start == 0 ? nil : self.rows[start - 1])
        let last = forged[forged.count - 1]
        let moved = ChainHead(appID: head.appID, seq: start + forged.count, hash: last.bytes(.hash) ?? [])
        let lines = forged.dropLast().map { text($0) } + [text(last, head: movingHead ? moved : head)]
        return [.init(from: start, to: self.rows.count, lines: lines)]
    }

    private mutating func changedHead() -> [Alteration.Splice] {
        let off = Int.random(in: 1...5, using: &random) * (Bool.random(using: &random) ? 1 : -1)
        let wrong =
            switch Int.random(in: 0..<3, using: &random) {
            case 0: ChainHead(appID: head.appID, seq: head.seq + off, hash: head.hash)
            case 1: ChainHead(appID: head.appID, seq: head.seq, hash: head.hash.reversed())
            default: ChainHead?.none
            }
        return [.init(from: rows.count - 1, to: rows.count, lines: [text(rows[rows.count - 1], head: wrong)])]
    }

    private mutating func damage() -> [Alteration.Splice] {
        let index = Int.random(in: 0..<rows.count - 1, using: &random)
        var line = text(rows[index])
        switch Int.random(in: 0..<4, using: &random) {
        case 0: line = String(line.dropLast(Int.random(in: 1...line.count, using: &random)))
        case 1: line = line.replacingOccurrences(of: "{\"seq\"", with: "{\"note\":\"x\",\"seq\"")
        case 2: line = line.replacingOccurrences(of: ",\"reason\"", with: ",\"reason\":null,\"reason\"")
        default: line = line.replacingOccurrences(of: "\"ip\":", with: "\"i\":")
        }
        return [.init(from: index, to: index + 1, lines: [line])]
    }
}

extension ExportLine {
    var row: ChainRow? { if case .entry(let row, _) = self { row } else { nil } }

    var head: ChainHead? {
        switch self {
        case .entry(_, let head): head
        case .head(let head): head
        case .part: nil
        }
    }
}
