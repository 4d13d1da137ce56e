import Foundation
import Testing

@testable import LibPQ

@Suite("Identifiers in text")
struct HexadecimalTests {
    @Test("are read in any case and written in lower case")
    func roundTrip() {
        for _ in 0..<1_000 {
            let bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
            let id = bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
            #expect(id.hexadecimal == id.uuidString.lowercased())
            #expect(UUID(hexadecimal: id.uuidString) == id)
            #expect(UUID(hexadecimal: id.hexadecimal) == id)
        }
    }

    @Test(
        "are refused in every other form",
        arguments: [
            "", "550e8400", "550e8400-e29b-41d4-a716-44665544000", "550e8400-e29b-41d4-a716-4466554400000",
            "550e8400-e29b-41d4-a716-44665544000g", "550e8400e29b41d4a716446655440000",
            "+50e8400-e29b-41d4-a716-446655440000",
            " 50e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716_446655440000",
            "550e84000e29b-41d4-a716-446655440000", "{50e8400-e29b-41d4-a716-44665544000}",
            "550e8400-e29b-41d4-a716-44665544000０", "550e8400-e29b-41d4-a716-4466554400é",
        ])
    func refusals(text: String) {
        #expect(UUID(hexadecimal: text) == nil)
    }
}
