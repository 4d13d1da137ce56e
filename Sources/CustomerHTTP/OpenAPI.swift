/// The description of the API, OpenAPI 3.1.
enum OpenAPI {
    static let document = "{}"
}
