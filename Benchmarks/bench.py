"""Measures the service against PostgreSQL alone, in one run. scripts/bench prepares and calls it."""

import argparse
import collections
import dataclasses
import hashlib
import json
import pathlib
import shutil
import sys
import tempfile
import urllib.error
import urllib.request

import before
import events
import goals
import growth
import inner
import kinds
import load
import peer
import proofs
import report
from measured import APP, HERE, ROOT, Cluster, Service, run, spent

CONCURRENCY = (1, 8, 32, 128)
# What is measured, and the floors to compare with.
FLOORS = {"a": "floor a: statements one by one", "b": "floor b: one call, one commit", "c": "floor c: SELECT 1",
          "d": "floor d: admission + append", "e": "floor e: row by primary key"}  # fmt: skip
SCENARIOS = ("delete", "refused", "missing", "replay", "read")


class Bench:
    SCENARIOS = SCENARIOS

    def __init__(self, options, prepare=HERE / "prepare.sql"):
        self.options = options
        self.prepare = prepare
        self.results = {"machine": machine(), "seconds": options.seconds, "rounds": options.rounds}
        self.open()

    def open(self):
        """A cluster with only what every part needs, and a service on it."""
        self.numbers = load.Numbers()
        self.tenants = []
        settings = ["max_connections=300", "shared_buffers=2GB", "max_wal_size=8GB", "jit=off"]
        self.cluster = Cluster(self.options.directory, settings)
        self.customerd("migrate")
        self.key = self.make_key(APP)
        self.digest = hashlib.sha256(self.key["client_secret"].encode()).hexdigest()
        self.cluster.psql(
            "-v", f"app={APP}", "-v", "service=customerd_service", "-f", str(self.prepare)
        )
        self.service = self.serve(0)
        self._prepare_replays()

    def serve(self, number, **settings):
        """A service with settings in addition, on the port of that number."""
        if self.options.pool:
            settings["CUSTOMERD_POOL_SIZE"] = str(self.options.pool)
        return Service([self.options.binary, "serve"], self.cluster, self.options.port + number, **settings)

    def customerd(self, *arguments):
        """The output of a command that runs as the owner."""
        return run(self.options.binary, *arguments, env=self.cluster.env | {"DATABASE_URL": self.cluster.url})

    def make_key(self, app):
        made = self.customerd("keys", "create", "--app", app, "--role", "admin", "--name", "bench", "--json")
        return json.loads(made) | {"app": app}

    def make_tenants(self, count):
        """API keys of the given number of apps, including those of earlier calls."""
        while len(self.tenants) < count:
            self.tenants.append(self.make_key(f"be9c0000-0000-4000-9000-{len(self.tenants) + 1:012}"))
        return self.tenants[:count]

    def close(self):
        self.service.stop()
        self.cluster.close()

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def seed(self, customers, blocked_fraction=0.2):
        self.customerd("seed", "--customers", str(customers), "--blocked-fraction", str(blocked_fraction), "--app", APP)
        self.cluster.sql("VACUUM ANALYZE")

    def _prepare_replays(self):
        for n in range(1, 65):
            self.call("DELETE", f"/api/v0/customers/bea00000-0000-4000-8000-{n:012}", f"bea10000-0000-4000-8000-{n:012}")

    def call(self, method, path, idempotency_key=None, body=None, service=None):
        headers = {"x-client-key": self.key["client_key"], "x-client-secret": self.key["client_secret"]}
        if idempotency_key:
            headers["idempotency-key"] = idempotency_key
        request = urllib.request.Request(
            f"http://127.0.0.1:{(service or self.service).port}{path}", body and body.encode(), headers, method=method
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    # One run each.

    def floor(self, script, clients):
        base = self.numbers.take(clients * 1_000_000)
        each = int(self.options.seconds * 4000 / clients) + 500
        if script in "ab":
            for client in range(clients):
                start = base + client * 1_000_000
                self.stock([self.key], start + 1, start + each)
        self.cluster.sql("CHECKPOINT")
        return load.pgbench(self.cluster, self.key, self.digest, script, clients, self.options.seconds, base)

    def stock(self, keys, first, last):
        """Customers to delete, from the apps of the keys in turn."""
        apps = ",".join(key["app"] for key in keys)
        self.cluster.sql(f"CALL bench.stock('{{{apps}}}', {first}, {last})")

    def scenario(self, name, connections, keys=None, service=None):
        """One run of requests of a kind, with one key or with several in turn, to the service or to another one."""
        keys, service = keys or [self.key], service or self.service
        count = int(self.options.seconds * 8000)
        base = self.numbers.take(count * 2)
        if name == "delete":
            self.stock(keys, base, base + count)
        self.cluster.sql("CHECKPOINT")
        service.forget_peak()
        before = spent(self.cluster, service)
        figures = load.wrk(service, keys, name, connections, self.options.seconds, base)
        cost = spent(self.cluster, service) - before
        good = figures.non_2xx == (0 if name in ("delete", "read", "audit") else figures.requests)
        if not good or figures.failed:
            raise SystemExit(f"bench: {name} at {connections} connections went wrong: {figures}")
        return figures, cost, service.peak_memory()

    # The parts of the benchmark.

    def throughput(self):
        """Every scenario and floor at every concurrency, interleaved, medians over the rounds."""
        runs = collections.defaultdict(list)
        costs = collections.defaultdict(list)
        memory = collections.defaultdict(int)
        for round_number in range(1, self.options.rounds + 1):
            for connections in self.options.concurrency:
                self.say(f"round {round_number} of {self.options.rounds}, {connections} connections")
                for floor in FLOORS:
                    runs["floor " + floor, connections].append(self.floor(floor, connections))
                for name in SCENARIOS:
                    figures, cost, peak = self.scenario(name, connections)
                    runs[name, connections].append(figures)
                    costs[name, connections].append((cost, figures.requests))
                    memory[name, connections] = max(memory[name, connections], peak)
        rows = []
        for (name, connections), measured in sorted(runs.items(), key=lambda item: (item[0][1], item[0][0])):
            figures, spread = load.median(measured)
            row = {"name": name, "connections": connections, "spread": spread} | dataclasses.asdict(figures)
            if (name, connections) in costs:
                row |= load.per_request(costs[name, connections]) | {"peak_memory": memory[name, connections]}
            rows.append(row)
        self.results["throughput"] = rows
        print_throughput(rows)
        return rows

    def reads(self):
        """p99 of the reads around a deletion, against a row by primary key, at a million customers."""
        self.say(f"seeding {self.options.customers:,} customers with their records")
        self.seed(self.options.customers, 0.54)
        people = [
            json.loads(line)
            for line in self.cluster.sql(
                f"""
                SELECT jsonb_build_object('id', id, 'first', first_name, 'last', last_name, 'email', email)
                FROM customers WHERE app_id = '{APP}' AND email IS NOT NULL ORDER BY sha256(uuid_send(id)) LIMIT 500
                """
            ).splitlines()
        ]
        def escaped(text):
            return urllib.request.quote(text)

        kinds = {
            "a customer": [f"/api/v0/customers/{p['id']}" for p in people],
            "list, full name": [f"/api/v0/customers?name={escaped(p['first'] + ' ' + p['last'])}" for p in people],
            "list, email": [f"/api/v0/customers?email={escaped(p['email'])}" for p in people],
            "list, first name": [f"/api/v0/customers?name={escaped(p['first'])}" for p in people],
            "list, no filter": ["/api/v0/customers"],
            "list, no filter, estimate": ["/api/v0/customers?total=estimate"],
            "list, broad filter": ["/api/v0/customers?email=example"],
            "list, broad filter, estimate": ["/api/v0/customers?email=example&total=estimate"],
            "list by cursor": [f"/api/v0/customers?cursor={cursor}" for cursor in self.cursors()],
            "deletion-check": [f"/api/v0/customers/{p['id']}/deletion-check" for p in people],
            "audit by customer": [f"/api/v0/audit?customer_id={p['id']}" for p in people],
        }
        measured = collections.defaultdict(list)
        for _ in range(self.options.rounds):
            measured["floor e (SQL)"].append(self.floor("e", 1))
            for kind, paths in kinds.items():
                with tempfile.NamedTemporaryFile("w") as file:
                    file.write("\n".join(paths) + "\n")
                    file.flush()
                    measured[kind].append(
                        load.wrk(self.service, [self.key], "paths", 1, self.options.seconds, paths=file.name)
                    )
        rows = [{"name": kind} | dataclasses.asdict(load.median(runs)[0]) for kind, runs in measured.items()]
        self.results["reads"] = rows
        http, sql = rows[1]["p50"], rows[0]["p50"]
        print(f"\nReads at {self.options.customers:,} customers, one connection (ms)")
        print(
            report.table(
                ["", "p50", "p99", "p99 / GET by id", "p99 / SELECT by key"],
                [
                    [r["name"], f"{r['p50']:.3f}", f"{r['p99']:.3f}", f"{r['p99'] / http:.1f}", f"{r['p99'] / sql:.1f}"]
                    for r in rows
                ],
            )
        )

    def cursors(self):
        """Those of pages along the list of customers."""
        cursor = "*"
        for _ in range(20):
            yield cursor
            _, body = self.call("GET", f"/api/v0/customers?cursor={cursor}&take=100")
            cursor = json.loads(body)["next_cursor"]

    def start(self):
        """From exec to the first answer."""
        seconds = []
        for _ in range(max(5, self.options.rounds)):
            second = self.serve(1)
            seconds.append(second.seconds_to_first_answer)
            second.stop()
        size = pathlib.Path(self.options.binary).stat().st_size
        self.results["start"] = {"milliseconds": sorted(s * 1000 for s in seconds), "binary_bytes": size}
        print(f"\nFrom exec to the first answer: {sorted(seconds)[len(seconds) // 2] * 1000:.0f} ms (median)")
        print(f"Size of the binary: {size / 2**20:.1f} MiB")


def print_throughput(rows):
    print("\nThroughput and latency (medians; spread: (highest - lowest) / median)")
    print(
        report.table(
            ["", "conns", "per second", "spread", "p50 ms", "p99 ms", "CPU svc", "CPU pg", "commits", "WAL", "syncs", "MiB"],
            [
                [r["name"], r["connections"], f"{r['per_second']:,.0f}", f"{r['spread'] * 100:.0f}%", f"{r['p50']:.2f}",
                 f"{r['p99']:.2f}"]
                + ([f"{r['service_cpu_ms']:.3f}", f"{r['backend_cpu_ms']:.3f}", f"{r['commits']:.2f}",
                    f"{r['wal_bytes']:,.0f}", f"{r['wal_syncs']:.2f}", f"{r['peak_memory'] / 2**20:.0f}"]
                   if "commits" in r else ["", "", "", "", "", ""])
                for r in rows
            ],
        )
    )  # fmt: skip


def machine():
    model = next(
        (line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown",
    )
    return {"cpu": model, "cores": len(list(pathlib.Path("/sys/devices/system/cpu").glob("cpu[0-9]*")))}


PARTS = {
    "throughput": Bench.throughput,
    "peer": peer.peer,
    "before": before.before,
    "inner": inner.functions,
    "kinds": kinds.kinds,
    "start": Bench.start,
    "tenants": growth.tenants,
    "reads": Bench.reads,
    "growth": growth.customers,
    "trail": growth.trail,
    "folding": proofs.folding,
    "proofs": proofs.proofs,
    "bloat": growth.bloat,
    "events": events.events,
}

# These parts set their own amounts of data.
FROM_NOTHING = {"reads", "growth", "proofs", "bloat"}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of each run (4)")
    parser.add_argument("--concurrency", type=lambda s: tuple(map(int, s.split(","))), default=CONCURRENCY)
    parser.add_argument("--customers", type=int, default=1_000_000, help="for the reads (1000000)")
    parser.add_argument("--growth", type=lambda s: tuple(map(int, s.split(","))), default=(10_000, 1_000_000, 10_000_000))
    parser.add_argument("--tenants", type=lambda s: tuple(map(int, s.split(","))), default=(1, 20, 200))
    parser.add_argument("--trail", type=int, default=10_000_000, help="entries for the parts trail and proofs (10000000)")
    parser.add_argument("--requests", type=int, default=360_000, help="for the part bloat (360000)")
    parser.add_argument("--pool", type=int, help="CUSTOMERD_POOL_SIZE (the service's default)")
    parser.add_argument("--before", help="a checkout of an earlier version, for the part before")
    parser.add_argument("--events", type=int, default=50_000, help="for the part events (50000)")
    parser.add_argument("--pairs", type=int, default=9, help="of runs with and without a webhook (9)")
    parser.add_argument("--listeners", type=int, default=1000, help="for the part events (1000)")
    parser.add_argument("--out", help="directory for the JSON and the chart (docs/benchmarks)")
    for handed_on in ("--binary", "--directory", "--port"):
        parser.add_argument(handed_on, required=True, help=argparse.SUPPRESS)
    for handed_on in ("--before-binary", "--before-directory", "--peer-binary"):
        parser.add_argument(handed_on, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.port = int(options.port)
    parts = options.parts or [
        part
        for part in PARTS
        if (part != "before" or options.before)
        and (part != "peer" or options.peer_binary)
        and (part != "kinds" or shutil.which("perf"))
    ]
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if "peer" in parts and not options.peer_binary:
        parser.error("the part peer needs Go and pgx (Debian: golang-go, golang-github-jackc-pgx-v4-dev)")
    if "before" in parts and not options.before:
        parser.error("the part before needs --before CHECKOUT")
    out = pathlib.Path(options.out or ROOT / "docs/benchmarks")
    name = "latest" if not options.parts else "-".join(parts)
    bench = Bench(options)
    try:
        for part in parts:
            if part in FROM_NOTHING and part != parts[0]:
                bench.close()
                bench.open()
            PARTS[part](bench)
            # After each part, so that an interrupted run keeps what it has.
            bench.results["goals"] = goals.of(bench.results)
            write(bench.results, out, name)
        goals.show(bench.results["goals"])
    finally:
        bench.close()


def write(results, out, name):
    out.mkdir(parents=True, exist_ok=True)
    report.write_json(out / f"{name}.json", results)
    if rows := results.get("throughput"):
        series = collections.defaultdict(dict)
        for row in rows:
            if row["name"] not in ("floor c", "floor e", "read"):
                series[row["name"]][row["connections"]] = row["per_second"]
        report.write_chart(out / f"{name}.svg", "Requests a second by connections", series)


if __name__ == "__main__":
    main()
