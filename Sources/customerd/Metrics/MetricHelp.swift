/// The meaning of each metric in a line: `# HELP` of the Prometheus text format. `docs/observability.md` has more.
enum MetricHelp {
    static let lines = [
        "customerd_audit_append_duration_seconds":
            "Seconds from handing an audit entry to the writer until it was durable.",
        "customerd_audit_head_timestamp_seconds":
            "When this instance last appended to the audit trail, in Unix seconds.",
        "customerd_audit_lag_seconds":
            "Seconds for which the oldest finished attempt has lacked its audit entry, in the whole database.",
        "customerd_audit_unrecorded": "Finished attempts that lack their audit entry, in the whole database.",
        "customerd_audit_waiting": "Audit entries that wait for the writer of this instance.",
        "customerd_bulk_deletions_lag_seconds":
            "Seconds for which the bulk deletion that has waited longest has waited for an instance, in the whole database.",
        "customerd_bulk_deletions_running": "Large bulk deletions that aren't over, in the whole database.",
        "customerd_bulk_items_total": "Items of large bulk deletions that this instance has run, by outcome.",
        "customerd_event_listeners": "Clients that wait for events: long polls and streams.",
        "customerd_http_connections": "Open client connections.",
        "customerd_http_connections_closed_total":
            "Client connections closed because the client was late, or displaced by another connection.",
        "customerd_http_request_duration_seconds": "Seconds from the arrival of a request until its answer was made.",
        "customerd_http_requests_total": "Answered requests.",
        "customerd_log_lines_dropped_total": "Log lines dropped because standard error was not read in time.",
        "customerd_recovery_failing_apps":
            "Apps that recovery can't append to: the head of the chain is missing, or the chain is damaged.",
        "customerd_recovered_total":
            "What recovery finished: receipts completed, attempts interrupted, floods folded.",
        "customerd_retention_failing_apps":
            "Apps in whose chains this instance couldn't erase old contexts when it last tried.",
        "customerd_scheduled_deletions_due":
            "Scheduled deletions whose time has come and that aren't done, in the whole database.",
        "customerd_scheduled_deletions_lag_seconds":
            "Seconds for which the oldest of these has been due, in the whole database.",
        "customerd_scheduled_deletions_total": "Scheduled deletions that this instance has run, by outcome.",
        "customerd_tls_certificate_expiry_timestamp_seconds":
            "When the served certificate expires, in Unix seconds.",
        "customerd_webhook_deliveries_total": "Attempts to deliver an event to a webhook.",
        "customerd_webhook_lag_seconds":
            "Seconds for which the oldest entry has waited for a webhook that is enabled, in the whole database.",
        "customerd_webhooks_disabled_total":
            "Webhooks that were disabled because their receiver was gone, or failed for three days.",
        "customerd_webhooks_failing": "Webhooks whose last delivery failed, in the whole database.",
        "db_pool_in_use": "Database sessions in use.",
        "db_pool_waiting": "Callers that wait for a database session.",
    ]
}
