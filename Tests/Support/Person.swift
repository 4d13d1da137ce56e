import Foundation

/// A customer whose personal data occurs nowhere else, to be looked for where it must be gone.
public struct Person: Sendable {
    public let customer: CustomerFixture
    public let marks: [String]

    public init() {
        let unique = newID().replacing("-", with: "")
        let marks = [
            "Fn\(unique)", "Ln\(unique)", "\(unique)@people.example", "+\(UInt64.random(in: 1 << 60 ... .max))",
        ]
        self.marks = marks
        customer = CustomerFixture {
            ($0.firstName, $0.lastName) = (marks[0], marks[1])
            ($0.email, $0.phoneNumber) = (marks[2], String(marks[3].prefix(20)))
            $0.lastSpent = "9999999999999999.90"
            $0.lastPurchaseDate = "2024-01-15T10:30:00.000001Z"
        }
    }

    public var id: String { customer.id }

    /// A reason that a client might give.
    public var reason: String { "\(marks[0]) \(marks[1]) asked for it" }

    /// Where a text holds personal data: what stands around the first place of each mark.
    public func traces(in text: String) -> [String] {
        let bytes = Data(text.utf8)
        return marks.compactMap { bytes.range(of: Data($0.prefix(19).utf8)) }.map { place in
            let excerpt = bytes[
                max(bytes.startIndex, place.lowerBound - 200)..<min(bytes.endIndex, place.upperBound + 50)]
            return String(decoding: excerpt, as: UTF8.self)
        }
    }

    /// A body in which the person's record stands without personal data.
    public func redacted(_ body: String) -> String {
        body.replacing("\"\(customer.firstName)\"", with: "\"[redacted]\"")
            .replacing("\"\(customer.lastName)\"", with: "\"\"")
            .replacing("\"\(customer.email ?? "")\"", with: "null")
            .replacing("\"\(customer.phoneNumber)\"", with: "\"\"")
    }
}
