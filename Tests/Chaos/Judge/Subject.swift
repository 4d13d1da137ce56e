/// A customer of an app: what a history is judged by, one at a time.
package struct Subject: Sendable, Hashable, CustomStringConvertible {
    package var app: String
    package var id: String

    package init(app: String, id: String) {
        self.app = app
        self.id = id
    }

    package var description: String { "customer \(id) of app \(app)" }
}
