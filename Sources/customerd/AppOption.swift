import AuditTrail
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

/// Checks the name of something by the rule that holds for names in the API, since it is stored and shown.
func checkName(_ name: String) throws {
    do throws(Invalidity) {
        try TextRule.check(name, of: "--name")
        guard !TextRule.isBlank(name) else { throw .text(name: "--name", "must not be blank") }
    } catch {
        throw ValidationError("\(error.message).")
    }
}
