#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A moment in UTC with the microseconds that `timestamptz` holds.
public struct Timestamp: Sendable, Hashable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    public let microseconds: Int64

    public init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// Now, by the clock of this machine.
    public static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }
}

// RFC 3339 in UTC with the six digits of `timestamptz`: `2024-01-15T10:30:00.000000Z`. By hand, because Foundation's
// formatters round to milliseconds.
extension Timestamp: CustomStringConvertible {
    /// RFC 3339 with six digits of fraction; outside of the years 0 to 9999, which RFC 3339 lacks, the microseconds.
    public var description: String { rfc3339 ?? String(microseconds) }

    private static let day: Int64 = 86_400_000_000
    private static let years: Range<Int64> = -62_167_219_200_000_000..<253_402_300_800_000_000

    /// RFC 3339 with six digits of fraction; nil outside of the years 0 to 9999.
    var rfc3339: String? {
        guard Self.years.contains(microseconds) else { return nil }
        let days = (microseconds - (microseconds < 0 ? Self.day - 1 : 0)) / Self.day
        let (year, month, day) = Self.date(days: Int(days))
        let time = Int(microseconds - days * Self.day)
        let second = time / 1_000_000
        func padded(_ number: Int, _ width: Int = 2) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        return """
            \(padded(year, 4))-\(padded(month))-\(padded(day))\
            T\(padded(second / 3600)):\(padded(second / 60 % 60)):\(padded(second % 60)).\(padded(time % 1_000_000, 6))Z
            """
    }

    /// Reads the form that ``description`` writes, and no other.
    init?(rfc3339 text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count == 27, zip(bytes, "dddd-dd-ddTdd:dd:dd.ddddddZ".utf8).allSatisfy(Self.fits) else {
            return nil
        }
        func number(_ range: Range<Int>) -> Int { bytes[range].reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } }
        let days = Self.days(year: number(0..<4), month: number(5..<7), day: number(8..<10))
        let seconds = number(11..<13) * 3600 + number(14..<16) * 60 + number(17..<19)
        self.init(microseconds: Int64(days) * Self.day + Int64(seconds * 1_000_000 + number(20..<26)))
        // April 31 is May 1, and written so.
        guard rfc3339 == text else { return nil }
    }

    private static func fits(_ byte: UInt8, _ form: UInt8) -> Bool {
        form == UInt8(ascii: "d") ? (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) : byte == form
    }

    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    private static func date(days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    /// Source: the same, `days_from_civil`.
    private static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

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
