/// A moment as a client or an operator writes it. Source: RFC 3339, section 5.6, `date-time`.
public struct DateTime: Sendable, Hashable {
    /// As PostgreSQL reads it.
    public let text: String

    /// Reads a date-time from year 1 on, with at most the offset that PostgreSQL knows. Digits beyond the microsecond
    /// are cut off.
    public init?(_ text: String) {
        let form = /(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))/
            .asciiOnlyDigits()
        guard
            let match = text.wholeMatch(of: form)?.output,
            let year = Int(match.1), let month = Int(match.2), let day = Int(match.3),
            let hour = Int(match.4), let minute = Int(match.5), let second = Int(match.6),
            year >= 1, (1...12).contains(month), (1...Self.days(of: month, year)).contains(day),
            hour <= 23, minute <= 59, second <= 60
        else { return nil }
        var offset = "Z"
        if let sign = match.8, let hours = match.9, let minutes = match.10 {
            guard (Int(hours) ?? 99) <= 15, (Int(minutes) ?? 99) <= 59 else { return nil }
            offset = "\(sign)\(hours):\(minutes)"
        }
        let fraction = match.7.map { "." + $0.prefix(6) } ?? ""
        self.text = "\(match.1)-\(match.2)-\(match.3)T\(match.4):\(match.5):\(match.6)\(fraction)\(offset)"
    }

    private static func days(of month: Int, _ year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}
