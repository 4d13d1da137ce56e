/// What came back for a request.
public struct HTTPAnswer: Sendable, Hashable, CustomStringConvertible {
    public struct Field: Sendable, Hashable {
        public var name: String
        public var value: String

        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    public var status: Int
    /// In the order in which they came.
    public var headers: [Field]
    public var body: String

    public init(status: Int, headers: [Field] = [], body: String = "") {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The value of a header that was given exactly once; nil otherwise.
    public subscript(_ name: String) -> String? {
        let values = self.values(of: name)
        return values.count == 1 ? values[0] : nil
    }

    /// All values of a header, in any case.
    public func values(of name: String) -> [String] {
        headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    public var description: String {
        "\(status) \(body) \(headers.map { "\($0.name): \($0.value)" })"
    }
}

extension HTTPAnswer {
    /// An error body of docs/api.md, Errors, byte for byte.
    public static func error(_ status: Int, _ message: String, _ error: String) -> String {
        "{\"statusCode\":\(status),\"message\":\"\(message)\",\"error\":\"\(error)\"}"
    }

    /// Whether the body has the three members of every error, in order, and says its own status.
    public var hasErrorForm: Bool {
        self["content-type"] == "application/json"
            && body.prefixMatch(of: /\{"statusCode":(\d+),"message":"(?:[^"\\]|\\.)+","error":"[A-Z][A-Za-z ]+"\}/)?
                .output.1 == "\(status)"[...]
            && body.wholeMatch(of: /\{"statusCode":\d+,"message":"(?:[^"\\]|\\.)+","error":"[A-Z][A-Za-z ]+"\}/) != nil
    }

    public var rateHeaders: [String] {
        headers.map { $0.name.lowercased() }.filter { $0.hasPrefix("x-ratelimit-") }.sorted()
    }
}
