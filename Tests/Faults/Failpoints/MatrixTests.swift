import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

/// Whatever goes wrong at whatever moment of a deletion: no customer gone without an entry, no key stuck, no answer a
/// guess.
///
/// `CUSTOMERD_TEST_CELLS` walks those cells alone whose line holds this text; `CUSTOMERD_TEST_TABLE` names a file for
/// the table of cells.
@Suite("Every moment of a deletion", .stages)
struct MatrixTests {
    /// So many clusters with a service each; they wait more than they work.
    private static let lanes = 6

    @Test("struck by every fault, for every kind of customer: the retry gets the true answer, and the trail is whole")
    func everyCell() async throws {
        let wanted = ProcessInfo.processInfo.environment["CUSTOMERD_TEST_CELLS"] ?? ""
        let cells = Cell.all.filter { wanted.isEmpty || $0.description.contains(wanted) }
        let start = ContinuousClock.now

        let reports = try await walk(cells)

        try publish(reports, elapsed: ContinuousClock.now - start)
        #expect(reports.count == cells.count)
        for report in reports where !report.problems.isEmpty {
            Issue.record("\(report.line)")
        }
    }

    private func walk(_ cells: [Cell]) async throws -> [CellReport] {
        // What a lock holds up inside the database needs more patience than the failpoints do.
        let quick = CellQueue(cells.filter { !$0.isInsideDatabase })
        let slow = CellQueue(cells.filter { $0.isInsideDatabase })
        return try await withThrowingTaskGroup(of: [CellReport].self) { group in
            for lane in 0..<Self.lanes {
                group.addTask {
                    let queue = lane < 2 ? slow : quick
                    guard !queue.isEmpty else { return [] }
                    return try await Lane.open(timeout: lane < 2 ? 5 : 1).walk(queue)
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
    }

    private func publish(_ reports: [CellReport], elapsed: Duration) throws {
        let order = Dictionary(uniqueKeysWithValues: Cell.all.enumerated().map { ($1.description, $0) })
        let sorted = reports.sorted { order[$0.cell.description, default: 0] < order[$1.cell.description, default: 0] }
        let reached = reports.filter(\.isReached)
        let slowest = reached.map(\.elapsed.milliseconds).max() ?? 0
        let summary =
            "\(reports.count) cells, \(reached.count) reached, \(reports.filter { !$0.problems.isEmpty }.count) broken, "
            + "slowest answer after \(slowest) ms, all in \(elapsed.milliseconds / 1000) s"
        let head = "moment | fault | customer | first answer | retry | time to the true answer"
        let table = ([head] + sorted.map(\.line) + [summary, ""]).joined(separator: "\n")
        print(table)
        if let path = ProcessInfo.processInfo.environment["CUSTOMERD_TEST_TABLE"], !path.isEmpty {
            try table.write(toFile: path, atomically: true, encoding: .utf8)
        }
    }
}

/// The cells that no walk has taken yet.
final class CellQueue: Sendable {
    private let cells: NIOLockedValueBox<[Cell]>

    init(_ cells: [Cell]) {
        self.cells = NIOLockedValueBox(cells.reversed())
    }

    var isEmpty: Bool { cells.withLockedValue { $0.isEmpty } }

    func next() -> Cell? { cells.withLockedValue { $0.popLast() } }
}
