/// The description of the API, OpenAPI 3.1.
enum OpenAPI {
    /// `openapi.json`, embedded by the build plugin `EmbedText`.
    static let document = EmbeddedText.files["Sources/CustomerHTTP/OpenAPI/openapi.json"] ?? ""
}
