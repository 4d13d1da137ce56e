/// The description of the API, OpenAPI 3.1: `openapi.json`, embedded by the build plugin `EmbedOpenAPI`.
enum OpenAPI {}
