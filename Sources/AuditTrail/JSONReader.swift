import LibPQ

/// Reads JSON strictly and in one pass: bodies of requests, lines of exports.
///
/// Source: RFC 8259. Where that leaves a choice this reader refuses: a byte order mark, a name that occurs twice in an
/// object, half of a surrogate pair, more than ``deepest`` levels, ``mostValues`` values or ``mostMembers`` members.
/// These limits bound what a body can cost before its sender is known. Foundation's reader accepts most of that, takes
/// seconds for some of it, and rewrites numbers.
package struct JSONReader {
    /// What was read: members in order, numbers as they were written.
    package enum Value: Sendable, Hashable {
        case null
        case bool(Bool)
        /// A number of JSON's grammar.
        case number(String)
        case string(String)
        case array([Value])
        /// Every name occurs once.
        case object([Member])
    }

    package struct Member: Sendable, Hashable {
        package let name: String
        package let value: Value

        package init(name: String, value: Value) {
            self.name = name
            self.value = value
        }
    }

    /// Why a text is refused, and at which of its bytes.
    package struct Malformed: Error, Hashable {
        /// The end of a sentence; it contains no text of the client.
        package let reason: String
        /// Counted from 1.
        package let byte: Int
    }

    /// Levels of arrays and objects.
    static let deepest = 16
    /// Values in the whole text, where its reader doesn't allow more. A body of 64 KiB holds fewer identifiers than that.
    package static let mostValues = 2048
    /// Members of one object, where its reader doesn't allow more.
    package static let mostMembers = 64

    private let bytes: UnsafeBufferPointer<UInt8>
    private let mostValues: Int
    private let mostMembers: Int
    private var index = 0
    private var values = 0
    /// Bytes and names that were looked at, so that a test can tell that the effort is linear.
    private var steps = 0

    /// - Parameters:
    ///   - mostValues: more of them are refused.
    ///   - mostMembers: more of them in one object are refused.
    package static func value(
        of text: [UInt8], upTo mostValues: Int = Self.mostValues, members mostMembers: Int = Self.mostMembers
    ) throws(Malformed) -> Value {
        try measured(text, upTo: mostValues, members: mostMembers).value.get()
    }

    /// The value, and the steps that it took to read it.
    package static func measured(
        _ text: [UInt8], upTo mostValues: Int = Self.mostValues, members mostMembers: Int = Self.mostMembers
    ) -> (value: Result<Value, Malformed>, steps: Int) {
        text.withUnsafeBufferPointer { bytes in
            var reader = JSONReader(bytes: bytes, mostValues: mostValues, mostMembers: mostMembers)
            let value = Result { () throws(Malformed) in try reader.text() }
            return (value, reader.steps)
        }
    }

    private init(bytes: UnsafeBufferPointer<UInt8>, mostValues: Int, mostMembers: Int) {
        self.bytes = bytes
        self.mostValues = mostValues
        self.mostMembers = mostMembers
    }

    // MARK: - Values

    private mutating func text() throws(Malformed) -> Value {
        guard !bytes.starts(with: [0xef, 0xbb, 0xbf]) else { throw malformed("it begins with a byte order mark") }
        let value = try value(level: 0)
        skipSpace()
        guard index == bytes.count else { throw malformed("something follows the value") }
        return value
    }

    private mutating func value(level: Int) throws(Malformed) -> Value {
        skipSpace()
        values += 1
        guard values <= mostValues else { throw malformed("there are more than \(mostValues) values") }
        guard let first = peek else { throw malformed("a value is expected") }
        switch first {
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "{"): return .object(try members(level: level + 1))
        case UInt8(ascii: "["): return .array(try elements(level: level + 1))
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        default: throw malformed("a value is expected")
        }
    }

    private mutating func elements(level: Int) throws(Malformed) -> [Value] {
        try enter(level)
        guard !take("]") else { return [] }
        var elements: [Value] = []
        repeat { elements.append(try value(level: level)) } while take(",")
        guard take("]") else { throw malformed("a comma or ] is expected") }
        return elements
    }

    private mutating func members(level: Int) throws(Malformed) -> [Member] {
        try enter(level)
        guard !take("}") else { return [] }
        var members: [Member] = []
        var names = Names()
        repeat {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw malformed("the name of a member is expected") }
            let start = index
            let name = try string()
            steps += name.utf8.count
            guard names.insert(name) else { throw malformed("a member occurs twice", at: start) }
            guard members.count < mostMembers else {
                throw malformed("an object has more than \(mostMembers) members", at: start)
            }
            guard take(":") else { throw malformed("a colon is expected") }
            members.append(.init(name: name, value: try value(level: level)))
        } while take(",")
        guard take("}") else { throw malformed("a comma or } is expected") }
        return members
    }

    private mutating func enter(_ level: Int) throws(Malformed) {
        guard level <= Self.deepest else { throw malformed("there are more than \(Self.deepest) levels") }
        advance()
    }

    private mutating func literal(_ word: StaticString, _ value: Value) throws(Malformed) -> Value {
        let end = index + word.utf8CodeUnitCount
        guard
            end <= bytes.count,
            bytes[index..<end].elementsEqual(
                UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
        else { throw malformed("a value is expected") }
        advance(word.utf8CodeUnitCount)
        return value
    }

    // MARK: - Numbers

    private mutating func number() throws(Malformed) -> String {
        let start = index
        if peek == UInt8(ascii: "-") { advance() }
        let first = peek
        guard digits() > 0 else { throw malformed("a digit is expected") }
        let length = index - start - (bytes[start] == UInt8(ascii: "-") ? 1 : 0)
        guard first != UInt8(ascii: "0") || length == 1 else {
            throw malformed("a number must not begin with 0", at: start)
        }
        if peek == UInt8(ascii: ".") {
            advance()
            guard digits() > 0 else { throw malformed("a digit is expected") }
        }
        if peek == UInt8(ascii: "e") || peek == UInt8(ascii: "E") {
            advance()
            if peek == UInt8(ascii: "+") || peek == UInt8(ascii: "-") { advance() }
            guard digits() > 0 else { throw malformed("a digit is expected") }
        }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func digits() -> Int {
        let start = index
        while let byte = peek, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { advance() }
        return index - start
    }

    // MARK: - Strings

    private mutating func string() throws(Malformed) -> String {
        let start = index
        advance()
        let first = try plainRun()
        // Nearly all strings have no escape sequences.
        if bytes[first.upperBound] == UInt8(ascii: "\"") {
            advance()
            return try decoded(UnsafeBufferPointer(rebasing: bytes[first]), start)
        }
        var unescaped = Array(bytes[first])
        while bytes[index] == UInt8(ascii: "\\") {
            advance()
            try unescape(into: &unescaped)
            unescaped += bytes[try plainRun()]
        }
        advance()
        return try decoded(unescaped, start)
    }

    private func decoded(_ text: some Collection<UInt8>, _ start: Int) throws(Malformed) -> String {
        guard let text = String(validating: text, as: UTF8.self) else {
            throw malformed("a string isn't UTF-8", at: start)
        }
        return text
    }

    /// Skips plain characters, up to a quotation mark or a backslash.
    private mutating func plainRun() throws(Malformed) -> Range<Int> {
        let start = index
        while let byte = peek {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return start..<index }
            guard byte >= 0x20 else { throw malformed("a control character in a string must be escaped") }
            advance()
        }
        throw malformed("a string doesn't end")
    }

    private mutating func unescape(into text: inout [UInt8]) throws(Malformed) {
        let escape = peek
        advance()
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escape ?? 0)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: UTF8.encode(try scalar()) ?? .init())
        default: throw malformed("there is no such escape sequence", at: index - 2)
        }
    }

    /// The scalar of a `\u` sequence, or of the two of a surrogate pair.
    private mutating func scalar() throws(Malformed) -> Unicode.Scalar {
        let start = index - 2
        let unit = try codeUnit()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard UTF16.isLeadSurrogate(unit), peek == UInt8(ascii: "\\") else {
            throw malformed("half of a surrogate pair", at: start)
        }
        advance()
        guard peek == UInt8(ascii: "u") else { throw malformed("half of a surrogate pair", at: start) }
        advance()
        let second = try codeUnit()
        let value = 0x10000 + (UInt32(unit & 0x3ff) << 10 | UInt32(second & 0x3ff))
        guard UTF16.isTrailSurrogate(second), let scalar = Unicode.Scalar(value) else {
            throw malformed("half of a surrogate pair", at: start)
        }
        return scalar
    }

    private mutating func codeUnit() throws(Malformed) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = peek?.hexadecimalDigit else { throw malformed("\\u takes four hexadecimal digits") }
            unit = unit << 4 | UInt16(digit)
            advance()
        }
        return unit
    }

    // MARK: - Bytes

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func advance(_ count: Int = 1) {
        index += count
        steps += count
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { advance() }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard peek == UInt8(ascii: character) else { return false }
        advance()
        return true
    }

    private func malformed(_ reason: String, at place: Int? = nil) -> Malformed {
        Malformed(reason: reason, byte: (place ?? index) + 1)
    }
}

/// The names of an object's members, compared by their bytes: comparing by Unicode's equivalence can take quadratic
/// time, and JSON doesn't define it.
private struct Names {
    private struct Name: Hashable {
        let text: String

        static func == (first: Name, second: Name) -> Bool {
            first.text.utf8.elementsEqual(second.text.utf8)
        }

        func hash(into hasher: inout Hasher) {
            var text = text
            text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        }
    }

    private var names: Set<Name> = []

    /// - Returns: whether the name is new.
    mutating func insert(_ name: String) -> Bool {
        names.insert(Name(text: name)).inserted
    }
}
