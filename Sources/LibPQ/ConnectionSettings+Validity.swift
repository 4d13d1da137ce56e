extension ConnectionSettings {
    /// Whether libpq can make sense of the connection string. Says nothing about whether anybody answers there.
    ///
    /// Source: PostgreSQL manual, libpq, `PQconninfoParse`.
    public var isWellFormed: Bool {
        PQConnection.isWellFormed(conninfo: conninfo)
    }
}
