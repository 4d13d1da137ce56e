/// Where to connect to, and how.
public struct ConnectionSettings: Sendable {
    /// A libpq URL or keyword string; empty for the `PG*` variables of the environment and libpq's defaults.
    /// Several hosts and `target_session_attrs` work. It holds a password: never log it.
    ///
    /// Source: PostgreSQL manual, libpq, "Connection Strings".
    public var conninfo: String
    /// What `pg_stat_activity` shows, unless the connection string or `PGAPPNAME` says otherwise.
    public var applicationName: String
    /// Whether statements are kept prepared under a name. To be switched off behind a pooler in transaction mode.
    public var preparesStatements: Bool
    /// How long to wait for one host before the next is tried. libpq's own `connect_timeout` has no effect.
    public var connectTimeout: Duration
    /// The server to connect to, in place of the hosts of the connection string.
    public var node: Node?

    public init(
        conninfo: String = "",
        applicationName: String = "customerd",
        preparesStatements: Bool = true,
        connectTimeout: Duration = .seconds(5)
    ) {
        self.conninfo = conninfo
        self.applicationName = applicationName
        self.preparesStatements = preparesStatements
        self.connectTimeout = connectTimeout
    }

    /// Whether libpq can parse the connection string. It says nothing about whether a server answers there.
    ///
    /// Source: PostgreSQL manual, libpq, `PQconninfoParse`.
    public var isWellFormed: Bool {
        PQConnection.isWellFormed(conninfo: conninfo)
    }
}

/// A setting that each session pins, whatever the defaults of server, database and role are.
public struct SessionParameter: Sendable, Hashable {
    public let name: String
    public let value: String

    /// The settings that change how SQL is read or what it returns. `client_encoding` is sent with the connection's
    /// startup.
    ///
    /// Each session sets them before its first statement, so they hold for the service and for commands, as any role.
    /// A start parameter (`options`) would save a round trip, but PgBouncer refuses it.
    ///
    /// In transaction mode, PgBouncer gives a transaction any of its server sessions, of which only some have seen our
    /// `SET`. There (``ConnectionSettings/preparesStatements`` is off) each transaction sets them again for itself, in
    /// the same round trip. Two exceptions: the isolation level of a statement alone is fixed before, and a script
    /// sets what it needs. So they have to be defaults of the service's role in its database, too.
    ///
    /// Not here: `default_transaction_read_only`, by which an operator closes a database to writes; timeouts and
    /// `synchronous_commit`, which change no result; settings that only a superuser can change.
    public static let pinned = [
        // A function or operator elsewhere never takes the place of a built-in one. Temporary objects come last: their
        // owner is the session's role, but their author may be another.
        SessionParameter(name: "search_path", value: "pg_catalog, pg_temp"),
        // A statement outside of a transaction block is a transaction, too. Under another level it fails with 40001.
        SessionParameter(name: "default_transaction_isolation", value: "read committed"),
        // Text forms of dates, times and intervals, and the offset of a timestamptz, in JSON as well.
        SessionParameter(name: "DateStyle", value: "ISO, MDY"),
        SessionParameter(name: "IntervalStyle", value: "postgres"),
        SessionParameter(name: "TimeZone", value: "UTC"),
        // Text forms of bytea and of floating-point numbers, in JSON as well.
        SessionParameter(name: "bytea_output", value: "hex"),
        SessionParameter(name: "extra_float_digits", value: "1"),
        // Names that SQL makes into text: regclass, format('%I'), pg_get_constraintdef().
        SessionParameter(name: "quote_all_identifiers", value: "off"),
        // How literals and expressions are read: backslashes, NULL in an array, `x = NULL`, XML.
        SessionParameter(name: "standard_conforming_strings", value: "on"),
        SessionParameter(name: "array_nulls", value: "on"),
        SessionParameter(name: "transform_null_equals", value: "off"),
        SessionParameter(name: "xmloption", value: "content"),
        // A limit makes searches by a GIN index return a random part of what they find.
        SessionParameter(name: "gin_fuzzy_search_limit", value: "0"),
    ]

    /// Sets all of them, for this transaction only.
    static let statement = "SELECT \(settings(isLocal: true))"

    /// Sets all of them, for the session. On a node of a distributed database, a statement about an app's rows calls
    /// functions that read and write others of the app's, on the same node; Citus lets them do so.
    static func script(ofNode isNode: Bool) -> String {
        let nested = "pg_catalog.set_config('citus.allow_nested_distributed_execution', 'on', false)"
        return "SELECT \(settings(isLocal: false))\(isNode ? ", \(nested)" : "")"
    }

    /// The function by its schema: the search_path isn't pinned yet.
    private static func settings(isLocal: Bool) -> String {
        pinned.map { "pg_catalog.set_config('\($0.name)', '\($0.value)', \(isLocal))" }.joined(separator: ", ")
    }
}
