"""The cost of a deletion as the data grows: customers, tenants, the trail, stored answers."""

import dataclasses
import json
import time

import load
import report
from goals import cpu
from measured import APP, Service

CONNECTIONS = 32
TABLES = ("customers", "invoices", "payment_links", "transactions", "liquidation_addresses", "entries", "attempts")


def customers(bench):
    """Cost of a deletion at 10⁴, 10⁶ and 10⁷ customers, and scans of whole tables on the way."""
    rows = []
    for wanted in bench.options.growth:
        present = int(bench.cluster.sql("SELECT count(*) FROM customers"))
        if wanted > present:
            bench.say(f"up to {wanted:,} customers")
            bench.cluster.sql(f"CALL bench.populate('{APP}', {present + 1}, {wanted})")
            bench.cluster.sql("VACUUM ANALYZE customers")
        rows.append({"customers": wanted} | deletions(bench))
    bench.results["growth"] = rows
    show("A deletion as customers become more", "customers", rows)


def tenants(bench):
    """Cost of a deletion when the same load comes from 1, 20 and 200 tenants: one chain of the trail each."""
    rows = []
    for count in bench.options.tenants:
        bench.say(f"{count} tenants")
        rows.append({"tenants": count} | deletions(bench, bench.make_tenants(count)))
    bench.results["tenants"] = rows
    show("A deletion as tenants become more", "tenants", rows)


def trail(bench):
    """Cost of a deletion, and of reading a customer's entries, before and after 10⁷ more entries in the trail."""
    rows = []
    for wanted in (0, bench.options.trail):
        if wanted:
            bench.say(f"a trail of {wanted:,} entries")
            bench.cluster.sql(f"CALL bench.fill_trail('{APP}', {wanted})")
            bench.cluster.sql("VACUUM ANALYZE audit.entries")
        entries = int(bench.cluster.sql("SELECT count(*) FROM audit.entries"))
        rows.append({"entries": entries} | deletions(bench))
        read, _, _ = bench.scenario("audit", 1)
        rows[-1]["audit_p99"] = read.p99
    bench.results["trail"] = rows
    show("A deletion as the trail becomes longer", "entries", rows)
    print("Entries of a customer over HTTP, p99 ms: " + ", ".join(f"{row['audit_p99']:.2f}" for row in rows))


def bloat(bench):
    """Sizes of what is stored temporarily, under as many requests as a key may send in an hour, and more.

    The answers are kept for a minute, so that most of them are forgotten on the way: tables that aren't vacuumed, or
    a purge that falls behind, would show as growth from sample to sample.
    """
    service = Service(
        [bench.options.binary, "serve"], bench.cluster, bench.options.port + 2, CUSTOMERD_IDEMPOTENCY_TTL_SECONDS="60"
    )
    samples = []
    requests = 0
    start = time.monotonic()
    try:
        while requests < bench.options.requests:
            base = bench.numbers.take(1_000_000)
            requests += load.wrk(service, [bench.key], "missing", CONNECTIONS, 20, base).requests
            sizes = json.loads(
                bench.cluster.sql(
                    """
                    SELECT jsonb_build_object(
                        'attempts', (SELECT count(*) FROM service.attempts),
                        'attempts_bytes', pg_total_relation_size('service.attempts'),
                        'rate_windows_bytes', pg_total_relation_size('service.rate_windows'),
                        'heads_bytes', pg_total_relation_size('audit.heads'))
                    """
                )
            )
            samples.append({"seconds": time.monotonic() - start, "requests": requests} | sizes)
            bench.say(f"{requests:,} requests: {sizes}")
    finally:
        service.stop()
    bench.results["bloat"] = samples
    print("\nWhat is stored for a minute, under steady load")
    print(
        report.table(
            ["seconds", "requests", "attempts", "their MiB", "rate windows KiB", "heads KiB"],
            [
                [f"{s['seconds']:.0f}", f"{s['requests']:,}", f"{s['attempts']:,}", f"{s['attempts_bytes'] / 2**20:.0f}",
                 f"{s['rate_windows_bytes'] / 2**10:.0f}", f"{s['heads_bytes'] / 2**10:.0f}"]
                for s in samples
            ],
        )
    )  # fmt: skip


def deletions(bench, keys=None):
    """A row: the medians of some rounds of deletions, and the scans of whole tables in them."""
    scans = sequential_scans(bench.cluster)
    measured = [bench.scenario("delete", CONNECTIONS, keys) for _ in range(bench.options.rounds)]
    figures, spread = load.median([m[0] for m in measured])
    cost = load.per_request([(m[1], m[0].requests) for m in measured])
    scanned = {table: count - scans[table] for table, count in sequential_scans(bench.cluster).items()}
    return {
        "spread": spread,
        "scans": sum(scanned.values()),
        "scanned": {table: count for table, count in scanned.items() if count},
    } | dataclasses.asdict(figures) | cost


def sequential_scans(cluster):
    """How often each table was scanned sequentially so far."""
    names = ", ".join(f"'{name}'" for name in TABLES)
    found = cluster.sql(f"SELECT jsonb_object_agg(relname, seq_scan) FROM pg_stat_user_tables WHERE relname IN ({names})")
    return json.loads(found)


def show(title, column, rows):
    print(f"\n{title}, {CONNECTIONS} connections")
    print(
        report.table(
            [column, "per second", "p50 ms", "p99 ms", "CPU ms", "CPU of the first", "WAL", "scans"],
            [
                [f"{r[column]:,}", f"{r['per_second']:,.0f}", f"{r['p50']:.2f}", f"{r['p99']:.2f}", f"{cpu(r):.3f}",
                 f"{cpu(r) / cpu(rows[0]):.2f}", f"{r['wal_bytes']:,.0f}", r["scans"]]
                for r in rows
            ],
        )
    )  # fmt: skip
