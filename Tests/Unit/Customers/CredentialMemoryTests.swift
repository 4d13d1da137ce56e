import AuditTrail
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

    private func folds(_ secret: String, _ subject: String) -> Bool {
        memory.fold(pair(secret), subject) { _ in "{}" } != nil
    }

    /// A key over its limit, as the database says it.
    private func refusal(retryAfter: Int, remaining: Int = 0) -> Admission.Decision {
        Admission.Decision(
            .rateLimited, retryAfter: retryAfter, decidedAt: "2026-01-01 00:00:01+00",
            caller: Caller(appID: .random(), keyID: .random(), clientKey: "ck", name: "tests", role: "admin"),
            rate: RateStatus(limit: 5, remaining: remaining, reset: 1_767_225_660), isRecorded: true)
    }

    @Test("folds only what failed, from an address whose failures are folded")
    func folds() {
        memory.noteFailure(pair("single"), flood: nil)
        note("folded", from: "a")
        note("late", from: "b", remaining: .zero)

        #expect(folds("folded", "a"))
        #expect(folds("single", "a"), "whatever failed it with, the address has had its number")
        #expect(!folds("single", "c"))
        #expect(!folds("new", "a"))
        #expect(!folds("late", "b"), "its window is over")
        #expect(memory.refusal(of: pair("late"))?.verdict == .unauthenticated)
        #expect(memory.refusal(of: pair("new")) == nil)
    }

    @Test("counts exactly, and hands over once")
    func counts() {
        note("x", from: "a")
        for number in 1...5 { _ = memory.fold(pair("x"), "a") { _ in "\(number)" } }

        let taken = memory.takeFolded()
        _ = memory.fold(pair("x"), "a") { _ in "6" }
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
        memory.note(pair("right"), app: app, granted: [])
        #expect(memory.app(of: pair("right")) == app)
        #expect(memory.app(of: pair("wrong")) == nil)

        memory.noteFailure(pair("right"), flood: nil)

        #expect(memory.app(of: pair("right")) == nil)
        #expect(memory.refusal(of: pair("right"))?.verdict == .unauthenticated)
    }

    @Test("knows what credentials were admitted for, all of it, until they fail")
    func granted() {
        let app = UUID.random()
        memory.note(pair("right"), app: app, granted: [.readCustomers])
        memory.note(pair("right"), app: app, granted: [.readAudit])
        memory.note(pair("refused"), app: app, granted: [])

        #expect(memory.app(of: pair("right"), admittedFor: [.readAudit, .readCustomers]) == app)
        #expect(memory.app(of: pair("right"), admittedFor: [.readAudit, .deleteCustomers]) == nil)
        #expect(memory.app(of: pair("refused"), admittedFor: [.readCustomers]) == nil)

        memory.noteFailure(pair("right"), flood: nil)

        #expect(memory.app(of: pair("right"), admittedFor: [.readCustomers]) == nil)
    }

    @Test(
        "repeats that a key has nothing left, to reads and to writes of a flood that is folded, with its secret alone")
    func exhausted() throws {
        let refusal = refusal(retryAfter: 30)
        for _ in 1...20 {
            #expect(memory.refusal(of: pair("single")) == nil, "single refusals are the database's")
            memory.noteLimit(pair("single"), refusal, isFolded: false, since: .now)
        }
        memory.noteLimit(pair("folded"), refusal, isFolded: true, since: .now)

        #expect(memory.refusal(of: pair("single"))?.verdict == .rateLimited)
        #expect(!folds("single", "a"), "it gets an entry of its own")
        #expect(!folds("other", "a"))
        let again = try #require(memory.fold(pair("folded"), "a") { "\($0?.clientKey ?? "")" })
        #expect(again.rate == refusal.rate)
        #expect(again.retryAfter == 30)
        #expect(!again.isRecorded)
        let folded = memory.takeFolded()
        #expect(folded.map(\.subject) == [refusal.caller?.keyID.text])
        #expect(folded.map(\.appID) == [refusal.caller?.appID])
        #expect(folded.map(\.at) == [refusal.decidedAt])
        #expect(folded.map(\.entry) == ["ck"])
    }

    @Test("forgets it before the window ends, and never knew it of a key that has something left")
    func windows() {
        let now = ContinuousClock.now
        memory.noteLimit(pair("last second"), refusal(retryAfter: 1), isFolded: true, since: now)
        memory.noteLimit(pair("over"), refusal(retryAfter: 2), isFolded: true, since: now - .seconds(1))
        memory.noteLimit(pair("old"), refusal(retryAfter: 60), isFolded: true, since: now - .seconds(2))
        memory.noteLimit(pair("expensive"), refusal(retryAfter: 60, remaining: 1), isFolded: true, since: now)
        memory.noteLimit(pair("right"), refusal(retryAfter: 60), isFolded: true, since: now)

        for secret in ["last second", "over", "old", "expensive"] {
            #expect(memory.refusal(of: pair(secret)) == nil, "\(secret)")
            #expect(!folds(secret, "a"), "\(secret)")
        }
        #expect(folds("right", "a"))
        memory.noteFailure(pair("right"), flood: nil)
        #expect(memory.refusal(of: pair("right"))?.verdict == .unauthenticated, "it was revoked")
    }

    @Test("forgets rather than grows")
    func bounds() {
        for number in 1...20_000 { note("s\(number)", from: "a\(number)") }

        let remembered = (1...20_000).count { memory.refusal(of: pair("s\($0)")) != nil }
        #expect((1...4096).contains(remembered))
    }
}
