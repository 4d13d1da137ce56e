/// Where to connect to, and how.
public struct ConnectionSettings: Sendable {
    /// A libpq URL or keyword string; empty for the `PG*` variables of the environment and libpq's defaults.
    /// Several hosts and `target_session_attrs` work. It holds a password: never log it.
    ///
    /// Source: PostgreSQL manual, libpq, "Connection Strings".
    public var conninfo: String
    /// What `pg_stat_activity` shows, unless the connection string or `PGAPPNAME` names something else.
    public var applicationName: String
    /// Whether statements are kept prepared under a name. To be switched off behind a pooler in transaction mode.
    public var preparesStatements: Bool
    /// How long to wait for one host before the next is tried. libpq's own `connect_timeout` has no effect.
    public var connectTimeout: Duration

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
}
