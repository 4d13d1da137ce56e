/// Times as an export has them: RFC 3339 in UTC with the six digits of `timestamptz`, `2024-01-15T10:30:00.000000Z`.
/// What has no such form, such as a year of five digits, stands as the microseconds themselves.
enum ExportTime {
    private static let day = 86_400_000_000
    /// From year 0 to 9999.
    private static let range = -62_167_219_200_000_000..<253_402_300_800_000_000

    static func text(microseconds text: String) -> String {
        guard let microseconds = Int(text), range.contains(microseconds) else { return text }
        let days = (microseconds - (microseconds < 0 ? day - 1 : 0)) / day
        let (year, month, dayOfMonth) = date(days: days)
        let time = microseconds - days * day
        let second = time / 1_000_000
        return """
            \(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))\
            T\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))\
            .\(padded(time % 1_000_000, 6))Z
            """
    }

    /// Whole microseconds since 1970-01-01T00:00:00Z; the text itself where it isn't of that form.
    static func microseconds(_ text: String) -> String {
        let bytes = Array(text.utf8)
        guard bytes.count == 27, zip(bytes, "dddd-dd-ddTdd:dd:dd.ddddddZ".utf8).allSatisfy(fits) else { return text }
        func number(_ range: Range<Int>) -> Int { bytes[range].reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } }
        let days = days(year: number(0..<4), month: number(5..<7), day: number(8..<10))
        let seconds = number(11..<13) * 3600 + number(14..<16) * 60 + number(17..<19)
        let microseconds = String(days * day + seconds * 1_000_000 + number(20..<26))
        // A 31st of April has microseconds, too, but no others have it.
        return self.text(microseconds: microseconds) == text ? microseconds : text
    }

    private static func fits(_ byte: UInt8, _ form: UInt8) -> Bool {
        form == UInt8(ascii: "d") ? (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) : byte == form
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
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
