"""The time of a deletion inside PostgreSQL, function by function."""

import json

import report

CONNECTIONS = 1


def functions(bench):
    """Calls and times of the functions for one deletion, by PostgreSQL's own count (`track_functions`)."""
    bench.cluster.sql("ALTER ROLE customerd_service SET track_functions = 'all'")
    counted = bench.service
    bench.service = bench.serve(3)
    try:
        bench.cluster.sql("SELECT pg_stat_reset()")
        figures, cost, _ = bench.scenario("delete", CONNECTIONS)
    finally:
        # The sessions report their counts when they end.
        bench.service.stop()
        bench.service = counted
        bench.cluster.sql("ALTER ROLE customerd_service RESET track_functions")
    found = json.loads(
        bench.cluster.sql(
            """
            SELECT jsonb_agg(f ORDER BY f.self_time DESC)
            FROM (SELECT schemaname || '.' || funcname AS name, calls, total_time, self_time
                  FROM pg_stat_user_functions) AS f
            """
        )
    )
    rows = [
        {"name": f["name"]} | {key: f[key] / figures.requests for key in ("calls", "total_time", "self_time")} for f in found
    ]
    bench.results["inner"] = {"backend_cpu_ms": cost.backend_cpu / figures.requests * 1000, "functions": rows}
    print(f"\nFunctions of a deletion, ms each; the backends' CPU: {bench.results['inner']['backend_cpu_ms']:.3f} ms")
    print(
        report.table(
            ["function", "calls", "with what it calls", "alone"],
            [[r["name"], f"{r['calls']:.2f}", f"{r['total_time']:.3f}", f"{r['self_time']:.3f}"] for r in rows if r["self_time"] >= 0.0005],
        )
    )
