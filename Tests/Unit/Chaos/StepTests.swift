import TestSupport
import Testing

@testable import chaos

@Suite("What a run is going to do")
struct StepTests {
    private func steps(seed: UInt64, client: Int) -> [Step] {
        var generator = ChaosClient.generator(seed: seed, client: client)
        return (1...200).map { _ in Step(using: &generator, tenants: 3) }
    }

    private func faults(seed: UInt64, ofInstances: Bool) -> [ChaosFault] {
        var generator = Saboteur.generator(seed: seed, ofInstances: ofInstances)
        return (1...50).map { _ in ChaosFault(using: &generator, ofInstance: ofInstances) }
    }

    @Test("is decided by the seed alone")
    func seed() {
        #expect(steps(seed: 7, client: 3) == steps(seed: 7, client: 3))
        #expect(steps(seed: 7, client: 3) != steps(seed: 8, client: 3))
        #expect(faults(seed: 7, ofInstances: true) == faults(seed: 7, ofInstances: true))
        #expect(faults(seed: 7, ofInstances: false) != faults(seed: 8, ofInstances: false))
    }

    @Test("differs from client to client, and no key is used twice")
    func clients() {
        let all = (0..<8).flatMap { steps(seed: 7, client: $0) }

        #expect(Set(all.map(\.key)).count == all.count)
        #expect(Set(all.map(\.mark)).count == all.count)
        #expect(
            all.allSatisfy {
                $0.key.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil
            })
    }

    @Test("has every kind of step and fault in it")
    func kinds() {
        #expect(Set((0..<8).flatMap { steps(seed: 7, client: $0) }.map(\.kind)) == Set(Step.Kind.allCases))
        let all = faults(seed: 7, ofInstances: true) + faults(seed: 7, ofInstances: false)
        #expect(Set(all.map(\.kind)) == Set(ChaosFault.Kind.allCases))
    }
}
