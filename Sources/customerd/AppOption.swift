import ArgumentParser
import Customers

/// Reads the UUID of an app; the zero UUID belongs to strangers, so no app may have it.
@Sendable
func parseApp(_ text: String) throws -> UUID {
    guard let app = UUID(strict: text), app != .zero else {
        throw ValidationError("--app must be a UUID other than the zero UUID, not \"\(text)\".")
    }
    return app
}
