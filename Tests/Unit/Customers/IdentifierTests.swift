import AuditTrail
import Customers
import Foundation
import TestSupport
import Testing

@Suite("New identifiers")
struct IdentifierTests {
    @Test("are of version 4, and all different")
    func random() {
        let texts = (1...10_000).map { _ in UUID.random().text }

        #expect(Set(texts).count == 10_000)
        let form = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/
        #expect(texts.allSatisfy { $0.wholeMatch(of: form) != nil })
    }

    @Test("in order of time are of version 7, begin with the milliseconds, and are all different")
    func timeOrdered() throws {
        let before = Date().timeIntervalSince1970 * 1000
        let texts = (1...10_000).map { _ in UUID.timeOrdered().text }
        let after = Date().timeIntervalSince1970 * 1000

        #expect(Set(texts.map { $0.suffix(20) }).count == 10_000)
        let form = /([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/
        let times = try texts.map { text in
            let match = try #require(text.wholeMatch(of: form))
            return Double(try #require(Int(match.1 + match.2, radix: 16)))
        }
        #expect(times == times.sorted())
        #expect(times.allSatisfy { before.rounded(.down) <= $0 && $0 <= after })
    }

    @Test("need no descriptor, unlike Foundation's, which repeat themselves where there is none")
    func withoutDescriptors() throws {
        let sources = URL(fileURLWithPath: projectFile("Sources"))
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        let careless = files.compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }.filter { file in
            let code = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
            return code.split(separator: "\n").contains { $0.contains("UUID()") && !$0.contains("///") }
        }

        #expect(careless.map(\.lastPathComponent) == [])
    }
}
