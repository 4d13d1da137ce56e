/// What each metric means, in a line: `# HELP` of Prometheus' text format. `docs/observability.md` says more.
enum MetricHelp {
    static let lines = [
        "customerd_audit_append_duration_seconds": "From handing an entry of the trail over until it was durable.",
        "customerd_audit_head_timestamp_seconds": "When this instance last appended to the trail, Unix time.",
        "customerd_audit_lag_seconds": "For how long the oldest finished attempt of the database has lacked its entry.",
        "customerd_audit_unrecorded": "Finished attempts of the database that lack their entry.",
        "customerd_audit_waiting": "Entries that wait for the writer of this instance.",
        "customerd_http_connections": "Connections of clients that are open.",
        "customerd_http_connections_closed_total":
            "Connections that were closed because their client was late, or displaced by another.",
        "customerd_http_request_duration_seconds": "From a request's arrival until its answer was made.",
        "customerd_http_requests_total": "Answered requests.",
        "customerd_log_lines_dropped_total": "Lines of the log that nobody took in time.",
        "customerd_recovered_total":
            "What recovery finished: receipts it completed, attempts it interrupted, floods it folded.",
        "customerd_tls_certificate_expiry_timestamp_seconds":
            "When the certificate that is served expires, Unix time.",
        "db_pool_in_use": "Connections to the database that are on loan.",
        "db_pool_waiting": "Callers that wait for a connection to the database.",
    ]
}
