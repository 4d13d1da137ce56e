import Foundation
import TestSupport
import Testing

@testable import AuditTrail

/// A chain of 10,000 with 1,000 redactions, and what can be done to it.
@Suite("Alterations of an export")
struct TamperTests {
    private static let seed: UInt64 = 6

    @Test(
        "1,000 redactions raise no alarm; each of 1,000 random alterations is found, by Swift and Python alike", .busy)
    func everyAlterationIsFound() async throws {
        let place = try TemporaryDirectory()
        let lines = try await Self.exportOfTenThousand(to: place)
        let items = try lines.map { try ExportLine($0.utf8) }
        let rows = items.compactMap(\.row)
        try #require(rows.count == 10_000)
        #expect(rows.count { $0[.action] == "customer.redact" } == 1000)
        let checkpoints = try Self.sign(rows, at: [9500, 10_000], in: place)

        var alterations = Alterations(rows: rows, seed: Self.seed)
        let all = alterations.thousand()
        #expect(all.count == 1000)
        let judge = RepeatedVerifier(items, checkpoints: checkpoints)
        #expect(judge.whole(signed: true).broken == nil)
        let answers = all.map { judge.answer(to: $0) }
        let bare = all.filter(\.signed).map { judge.answer(to: $0, signed: false) }
        let second = try await Self.askPython(all, in: place)

        try #require(second.count == answers.count)
        for ((alteration, answer), other) in zip(zip(all, answers), second) {
            #expect(answer.broken != nil, "\(alteration.kind) wasn't found")
            #expect(Self.form(answer) == other, "\(alteration.kind): \(answer)")
            if let seq = Self.expectedSeq(alteration) {
                #expect(answer.broken?.seq == seq, "\(alteration.kind): \(answer)")
            }
        }
        Self.report(all, answers, bare)
    }

    // MARK: - The chain

    private static func exportOfTenThousand(to place: TemporaryDirectory) async throws -> [Substring] {
        let fixture = try await TrailFixture.make()
        let start = ContinuousClock.now
        try await fixture.append(5000, customers: 2000)
        try await fixture.redact(0..<500)
        try await fixture.append(3500, customers: 2000, from: 5000)
        try await fixture.redact(500..<1000)
        try await fixture.append(500, customers: 2000, from: 8500)
        print("made a chain of 10,000 in \(start.duration(to: .now))")
        let environment = ["DATABASE_URL": fixture.database.url()]
        let verdict = try await Customerd.succeed(["audit", "verify", "--json"], environment)
        #expect(
            verdict == """
                {"entries":10000,"verified":10000,"broken_at":null,"broken_app":null,"reason":null}\n
                """)
        let export = try await Customerd.succeed(["audit", "export"], environment)
        try await fixture.drop()
        let path = try place.write("export", export)
        let second = try await Program.succeed(["python3", projectFile("scripts/verify-audit.py"), path])
        #expect(second == verdict)
        print("1,000 redactions: 0 false alarms")
        return export.split(separator: "\n")
    }

    private static func sign(_ rows: [ChainRow], at sizes: [Int], in place: TemporaryDirectory) throws -> [TreeHead] {
        let signer = try #require(NoteSigner(generating: "example.com/trail"))
        let heads = sizes.map { ChainForger.tree(rows.prefix($0), app: TrailFixture.app) }
        let notes = try heads.map { try Checkpoint($0, signer: signer).text }
        try place.write("checkpoints", notes.joined(separator: "\n"))
        return heads
    }

    // MARK: - The verdicts

    private static func askPython(_ alterations: [Alteration], in place: TemporaryDirectory) async throws -> [String] {
        let encoder = JSONEncoder()
        let cases = try alterations.map { alteration in
            let splices = String(decoding: try encoder.encode(alteration.splices), as: UTF8.self)
            return "{\"splices\":\(splices),\"signed\":\(alteration.signed)}\n"
        }
        try place.write("cases", cases.joined())
        let answers = try await Program.succeed([
            "python3", "-B", projectFile("Tests/Unit/AuditTrail/alterations.py"),
            projectFile("scripts/verify-audit.py"),
            place.path("export"), place.path("checkpoints"), place.path("cases"),
        ])
        return answers.split(separator: "\n").map(String.init)
    }

    /// As `alterations.py` writes it.
    private static func form(_ verdict: ChainVerdict) -> String {
        let app = verdict.broken?.appID.map { JSON.string($0).text } ?? "null"
        let seq = verdict.broken?.seq.map { String($0) } ?? "null"
        return "[\(verdict.entries), \(verdict.verified), \(seq), \(app)]"
    }

    /// The seq that has to be named; nil if it depends.
    private static func expectedSeq(_ alteration: Alteration) -> Int? {
        let first = (alteration.splices.map(\.from).min() ?? 0) + 1
        switch alteration.kind {
        case .columnChanged: return alteration.column == .appID ? nil : first
        case .entryRemoved, .entriesSwapped, .contentsSwapped, .entryInserted, .saltChanged, .commitmentChanged,
            .imageTaken, .erasedWithoutRedaction, .lineDamaged:
            return first
        case .recomputedWithHead, .entryInsertedWithHead: return first <= 9500 ? 9500 : 10_000
        case .recomputed: return 10_000
        case .tailCut, .tailCutWithHead, .redactionForged, .headChanged: return nil
        }
    }

    private static func report(_ all: [Alteration], _ answers: [ChainVerdict], _ bare: [ChainVerdict]) {
        for kind in Alteration.Kind.allCases {
            let own = zip(all, answers).filter { $0.0.kind == kind }
            print("\(kind): \(own.count { $0.1.broken != nil }) of \(own.count) found")
        }
        print("alterations found: \(answers.count { $0.broken != nil }) of \(answers.count); seed \(seed)")
        print("of the \(bare.count) that need a checkpoint, found without: \(bare.count { $0.broken != nil })")
    }
}

/// Verifies alterations of one export as ``ExportVerifier`` does, without reading what is the same every time.
private struct RepeatedVerifier {
    private static let step = 100

    private let base: [(entry: ChainEntry?, head: ChainHead?)]
    /// The walk before every hundredth line, without and with checkpoints.
    private let walks: [[ChainWalk]]

    init(_ items: [ExportLine], checkpoints: [TreeHead]) {
        let base = items.map { (entry: $0.row.map(ChainEntry.init), head: $0.head) }
        self.base = base
        walks = [[], checkpoints].map { checkpoints in
            var walk = ChainWalk(checkpoints: checkpoints)
            return base.enumerated().reduce(into: []) { walks, item in
                if item.offset.isMultiple(of: Self.step) { walks.append(walk) }
                Self.take(item.element, &walk)
            }
        }
    }

    private static func take(_ item: (entry: ChainEntry?, head: ChainHead?), _ walk: inout ChainWalk) {
        if let entry = item.entry { walk.take(entry) }
        if let head = item.head { walk.take(head) }
    }

    func whole(signed: Bool) -> ChainVerdict {
        answer(to: [], signed: signed)
    }

    func answer(to alteration: Alteration, signed: Bool? = nil) -> ChainVerdict {
        answer(to: alteration.splices, signed: signed ?? alteration.signed)
    }

    private func answer(to splices: [Alteration.Splice], signed: Bool) -> ChainVerdict {
        let splices = splices.sorted { $0.from < $1.from }
        let first = min((splices.first?.from ?? 0) / Self.step, walks[0].count - 1)
        var walk = walks[signed ? 1 : 0][first]
        var index = first * Self.step
        for splice in splices {
            while index < splice.from {
                Self.take(base[index], &walk)
                index += 1
            }
            for line in splice.lines {
                do {
                    let item = try ExportLine(line.utf8)
                    Self.take((item.row.map(ChainEntry.init), item.head), &walk)
                } catch {
                    return walk.stop(error.reason)
                }
            }
            index = splice.to
        }
        while index < base.count {
            Self.take(base[index], &walk)
            index += 1
        }
        return walk.finish()
    }
}
