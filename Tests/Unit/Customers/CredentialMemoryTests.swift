import Foundation
import TestSupport
import Testing

@testable import Customers

@Suite("What an instance remembers of credentials")
struct CredentialMemoryTests {
    private let memory = CredentialMemory()

    private func pair(_ secret: String) -> CredentialMemory.Pair {
        CredentialMemory.Pair(Credentials(clientKey: "ck", secret: secret))
    }

    private func note(_ secret: String, from subject: String, remaining: Duration = .seconds(30)) {
        memory.noteFailure(pair(secret), flood: (subject: subject, at: "2026-01-01 00:00:01+00", remaining: remaining))
    }

    @Test("folds only what failed, from an address whose failures are folded")
    func folds() {
        memory.noteFailure(pair("single"), flood: nil)
        note("folded", from: "a")
        note("late", from: "b", remaining: .zero)

        #expect(memory.fold(pair("folded"), "a") { "1" })
        #expect(memory.fold(pair("single"), "a") { "2" }, "whatever failed it with, the address has had its number")
        #expect(!memory.fold(pair("single"), "c") { "3" })
        #expect(!memory.fold(pair("new"), "a") { "4" })
        #expect(!memory.fold(pair("late"), "b") { "5" }, "its window is over")
        #expect(memory.hasFailed(pair("late")))
        #expect(!memory.hasFailed(pair("new")))
    }

    @Test("counts exactly, and hands over once")
    func counts() {
        note("x", from: "a")
        for number in 1...5 { _ = memory.fold(pair("x"), "a") { "\(number)" } }

        let taken = memory.takeFolded()
        _ = memory.fold(pair("x"), "a") { "6" }
        memory.putBack(taken)
        let again = memory.takeFolded()

        #expect(taken.map(\.count) == [5])
        #expect(taken.map(\.entry) == ["5"])
        #expect(again.map(\.count) == [6])
        #expect(again.map(\.entry) == ["6"])
        #expect(memory.takeFolded().isEmpty)
    }

    @Test("knows the app of credentials until they fail")
    func apps() {
        let app = UUID.random()
        memory.note(pair("right"), app: app)
        #expect(memory.app(of: pair("right")) == app)
        #expect(memory.app(of: pair("wrong")) == nil)

        memory.noteFailure(pair("right"), flood: nil)

        #expect(memory.app(of: pair("right")) == nil)
        #expect(memory.hasFailed(pair("right")))
    }

    @Test("forgets rather than grows")
    func bounds() {
        for number in 1...20_000 { note("s\(number)", from: "a\(number)") }

        let remembered = (1...20_000).count { memory.hasFailed(pair("s\($0)")) }
        #expect((1...4096).contains(remembered))
    }
}
