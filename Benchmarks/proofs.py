"""What a chain of 10⁷ entries makes of proofs, certificates and checkpoints."""

import dataclasses
import pathlib
import re
import tempfile
import time

import load
import report
from goals import cpu
from measured import APP, run

# An hour of a deletion a second.
NEW_ENTRIES = 3_600
# How long the chain is at the first checkpoint, as a share of all.
OLD_SHARE = 10

CONNECTIONS = 32
ROUNDS_OF_FOLDING = 12


def proofs(bench):
    """p99 of proofs and certificates over HTTP, and the time of the commands that compare and sign checkpoints."""
    size = bench.options.trail
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        as_auditor(bench, "keygen", "--name", "example.com/bench", "--key", place / "key")
        begin(bench)
        filled = lengthen(bench, size // OLD_SHARE)
        sign(bench, place / "old")
        filled += lengthen(bench, size)
        (place / "new").write_bytes((place / "old").read_bytes())
        verified = sign(bench, place / "new", "--incremental")
        bench.cluster.sql("VACUUM ANALYZE audit.entries, audit.nodes")
        rows = [
            {"name": name} | dataclasses.asdict(figures)
            for name, figures in over_http(bench, {"proof": "proof", "certificate": "certificate",
                                                   "certificate, all disclosed": "certificate?disclose=subject,context"})
        ]  # fmt: skip
        consistency = [timed(bench, "verify", "--app", APP, "--from", place / "old", "--to", place / "new")
                       for _ in range(20)]  # fmt: skip
        incremental = []
        for round_number in range(1, bench.options.rounds + 1):
            lengthen(bench, size + round_number * NEW_ENTRIES)
            incremental.append(sign(bench, place / "new", "--incremental"))
    bench.results["proofs"] = {
        "entries": size, "filled_seconds": filled, "verified_seconds": verified, "http": rows,
        "consistency_ms": sorted(s * 1000 for s in consistency),
        "incremental_ms": sorted(s * 1000 for s in incremental),
    }  # fmt: skip
    show(bench.results["proofs"])


def folding(bench):
    """What the tree adds to a deletion: the same load with and without it, in turn, many short rounds of both."""
    with_tree = bench.cluster.sql("SELECT pg_get_functiondef('service.append(uuid, jsonb, int)'::regprocedure)")
    without, found = re.subn(r"PERFORM service\.fold_tiles\(.*?\);", "NULL;", with_tree)
    if found != 1:
        raise SystemExit("bench: service.append doesn't fold the tiles where this part looks for it")
    functions = {"with": with_tree, "without": without}
    measured = {name: [] for name in functions}
    try:
        for round_number in range(max(ROUNDS_OF_FOLDING, bench.options.rounds)):
            # Each goes first as often as the other: what runs second finds other things in the caches.
            for name in sorted(functions, reverse=round_number % 2):
                bench.cluster.sql(functions[name])
                figures, cost, _ = bench.scenario("delete", CONNECTIONS)
                measured[name].append((figures, cost))
    finally:
        bench.cluster.sql(with_tree)
    rows = [
        {"name": name, "rate": load.median([figures for figures, _ in runs])[0].per_second}
        | load.per_request([(cost, figures.requests) for figures, cost in runs])
        for name, runs in measured.items()
    ]
    bench.results["folding"] = rows
    print(f"\nA deletion with the tree and without it, {CONNECTIONS} connections, medians of {len(measured['with'])} rounds")
    print(
        report.table(
            ["tree", "per second", "CPU ms", "of it PostgreSQL", "WAL"],
            [[r["name"], f"{r['rate']:,.0f}", f"{cpu(r):.4f}", f"{r['backend_cpu_ms']:.4f}", f"{r['wal_bytes']:,.0f}"]
             for r in rows],
        )
    )  # fmt: skip


def begin(bench):
    """A deletion, which all later entries are like."""
    number = bench.numbers.take(1)
    bench.stock([bench.key], number, number)
    status, _ = bench.call(
        "DELETE", f"/api/v0/customers/bec00000-0000-4000-8000-{number:012}", f"bed00000-0000-4000-8000-{number:012}"
    )
    if status != 200:
        raise SystemExit(f"bench: the first deletion was answered with {status}")


def lengthen(bench, size):
    """Seconds that it takes to make a chain as long as that."""
    bench.say(f"a chain of {size:,} entries")
    start = time.monotonic()
    bench.cluster.sql(f"CALL bench.lengthen_chain('{APP}', {size})")
    return time.monotonic() - start


def as_auditor(bench, *arguments):
    environment = bench.cluster.env | {"DATABASE_URL": bench.cluster.url_of("customerd_auditor")}
    return run(bench.options.binary, "audit", *map(str, arguments), env=environment)


def timed(bench, *arguments):
    """Seconds of a command, from exec to its end."""
    start = time.monotonic()
    as_auditor(bench, *arguments)
    return time.monotonic() - start


def sign(bench, path, *options):
    """Seconds of a new checkpoint in a file."""
    bench.say("signing")
    return timed(bench, "checkpoint", "--app", APP, "--key", path.parent / "key", "--out", path, *options)


def over_http(bench, kinds):
    """The medians over rounds of each kind of request, about random entries, at one connection."""
    ids = bench.cluster.sql(
        f"""
        SELECT e.id
        FROM generate_series(1, 5000)
        CROSS JOIN LATERAL (SELECT 1 + floor(random() * {bench.options.trail})::bigint AS seq
                            WHERE generate_series IS NOT NULL) AS r
        JOIN audit.entries AS e ON e.app_id = '{APP}' AND e.seq = r.seq
        """
    ).splitlines()
    measured = {name: [] for name in kinds}
    for _ in range(bench.options.rounds):
        for name, kind in kinds.items():
            with tempfile.NamedTemporaryFile("w") as file:
                file.write("".join(f"/api/v0/audit/{id}/{kind}\n" for id in ids))
                file.flush()
                figures = load.wrk(bench.service, [bench.key], "paths", 1, bench.options.seconds, paths=file.name)
            if figures.non_2xx or figures.failed:
                raise SystemExit(f"bench: {name} went wrong: {figures}")
            measured[name].append(figures)
    return [(name, load.median(runs)[0]) for name, runs in measured.items()]


def show(found):
    print(f"\nProofs in a chain of {found['entries']:,} entries, one connection (ms)")
    print(
        report.table(
            ["", "per second", "p50", "p99"],
            [[r["name"], f"{r['per_second']:,.0f}", f"{r['p50']:.2f}", f"{r['p99']:.2f}"] for r in found["http"]],
        )
    )
    middle = {name: found[name][len(found[name]) // 2] for name in ("consistency_ms", "incremental_ms")}
    print(f"Commands from exec to their end: consistency of two checkpoints {middle['consistency_ms']:.0f} ms (highest "
          f"{found['consistency_ms'][-1]:.0f}), a checkpoint after {NEW_ENTRIES:,} entries {middle['incremental_ms']:.0f} ms")  # fmt: skip
    print(f"The chain was made in {found['filled_seconds']:.0f} s; {100 - 100 // OLD_SHARE} % of it were verified and "
          f"signed in {found['verified_seconds']:.0f} s")  # fmt: skip
