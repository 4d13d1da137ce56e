"""The service beside a plain implementation of the same in Go (Benchmarks/peer), on one cluster, in one run."""

import report
from before import compared
from measured import HERE, Service

ROLE = "bench_peer"
# With as many connections as give it its highest throughput; the service's own pool is its default.
POOL = 20


def peer(bench):
    """Every kind of request of both in turn, from one tenant and from twenty: ratios of the same round, their medians."""
    prepare(bench)
    other = Service(
        [bench.options.peer_binary], bench.cluster, bench.options.port + 3, ROLE, PEER_POOL_SIZE=str(POOL)
    )
    rows = []
    try:
        for tenants in (1, 20):
            keys = [bench.key] if tenants == 1 else bench.make_tenants(tenants)
            know(bench, keys)
            reserve_replays(bench, other)
            for connections in bench.options.concurrency:
                rows += [
                    row | {"tenants": tenants}
                    for row in compared(
                        bench,
                        connections,
                        lambda name, connections: bench.scenario(name, connections, keys, other),
                        lambda name, connections: bench.scenario(name, connections, keys),
                    )
                ]
    finally:
        other.stop()
    bench.results["peer"] = rows
    show(rows)


def prepare(bench):
    bench.cluster.psql("-v", f"service={ROLE}", "-f", str(HERE / "peer/schema.sql"))


def know(bench, keys):
    """Gives the peer the same keys, and their apps a chain."""
    for key in keys:
        bench.cluster.psql(
            "-v", f"key={key['client_key']}", "-v", f"secret={key['client_secret']}", "-v", f"app={key['app']}",
            stdin="""
                INSERT INTO peer.keys VALUES (:'key', sha256(:'secret'), gen_random_uuid(), :'app', 'bench', 'admin')
                ON CONFLICT DO NOTHING;
                INSERT INTO peer.heads VALUES (:'app', 0, sha256('')) ON CONFLICT DO NOTHING;
            """,
        )  # fmt: skip


def reserve_replays(bench, other):
    """The answers that are replayed."""
    for n in range(1, 65):
        bench.call(
            "DELETE", f"/api/v0/customers/bea00000-0000-4000-8000-{n:012}", f"bea10000-0000-4000-8000-{n:012}",
            service=other,
        )  # fmt: skip


def show(rows):
    print("\nBeside the peer in Go: ratios of the same round, medians (lowest and highest)")
    print(
        report.table(
            ["", "tenants", "conns", "per second", "peer", "ratio", "", "p50 ms", "peer", "CPU pg", "peer", "CPU svc",
             "peer", "WAL", "peer", "images", "peer", "syncs", "peer"],
            [
                [r["name"], r["tenants"], r["connections"], f"{r['second']['rate']:,.0f}", f"{r['first']['rate']:,.0f}",
                 f"{r['rate_ratio']:.2f}", f"{r['lowest_ratio']:.2f}–{r['highest_ratio']:.2f}"]
                + [cell for figure, form in (("p50", ".2f"), ("backend_cpu", ".3f"), ("service_cpu", ".3f"),
                                             ("wal", ",.0f"), ("images", ".2f"), ("syncs", ".2f"))
                   for cell in (format(r["second"][figure], form), format(r["first"][figure], form))]
                for r in rows
            ],
        )
    )  # fmt: skip
