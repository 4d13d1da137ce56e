public import LibPQ

/// Why the schema wasn't migrated. The database is as it was before.
public enum MigrationError: Error, Sendable, Hashable {
    /// A migration that has been applied was edited afterwards.
    case edited(name: String)
    /// The database has been migrated by a newer binary.
    case newer(version: Int, known: Int)
    /// The database isn't encoded in UTF-8, so it couldn't hold every name.
    case encoding(String)
    /// The migrating role lacks a right; the server says which.
    case insufficientPrivilege(ServerError)
    /// A migration failed.
    case failed(name: String, ServerError)
    case database(DatabaseError)
}

extension MigrationError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .edited(let name):
            "Migration \(name) was edited after it had been applied; restore the file and add a new migration instead."
        case .newer(let version, let known):
            "The database was migrated to version \(version) by a newer customerd; this one knows versions up to \(known)."
        case .encoding(let encoding):
            """
            The database is encoded in \(encoding) and can't hold every name; make it with \
            CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'.
            """
        case .insufficientPrivilege(let error):
            """
            The migrating role lacks a right (\(error.message)): it must be a superuser, or own the database and have \
            CREATEROLE.
            """
        case .failed(let name, let error):
            "Migration \(name) failed: \(error)"
        case .database(let error):
            "\(error)"
        }
    }
}
