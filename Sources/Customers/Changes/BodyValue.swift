/// A value in a request body, as far as requests have members of its type.
enum BodyValue: Decodable {
    case null
    case bool(Bool)
    case string(String)
    case array([BodyValue])
    /// A number or an object, which no member may be.
    case other

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let text = try? value.decode(String.self) {
            self = .string(text)
        } else if value.decodeNil() {
            self = .null
        } else if let flag = try? value.decode(Bool.self) {
            self = .bool(flag)
        } else if let elements = try? value.decode([BodyValue].self) {
            self = .array(elements)
        } else {
            self = .other
        }
    }
}
