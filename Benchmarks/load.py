"""Load: wrk on the service, pgbench on the same database."""

import collections
import dataclasses
import json
import os
import pathlib
import tempfile

from measured import APP, HERE, run


@dataclasses.dataclass
class Figures:
    """One run. Times in milliseconds."""

    requests: int
    per_second: float
    p50: float
    p99: float
    non_2xx: int = 0
    failed: int = 0


class Numbers:
    """Hands out ranges of numbers, each used once, from which the identifiers of requests are made."""

    def __init__(self):
        self.next = 1_000

    def take(self, count):
        start = self.next
        self.next += count
        return start


def wrk(service, keys, scenario, connections, seconds, base=0, paths=None):
    """Requests of one kind, with the keys in turn."""
    threads = min(2, connections)
    environment = os.environ | {
        "SCENARIO": scenario,
        "BASE": str(base),
        "THREADS": str(threads),
        "POPULATION": "1000",
        "CLIENT_KEYS": " ".join(key["client_key"] for key in keys),
        "CLIENT_SECRETS": " ".join(key["client_secret"] for key in keys),
    }
    if paths:
        environment["PATHS_FILE"] = str(paths)
    options = ("-t", threads, "-c", connections, "-d", f"{seconds}s", "--timeout", "10s", "-s", HERE / "requests.lua")
    output = run("wrk", *map(str, options), f"http://127.0.0.1:{service.port}", env=environment)
    result = json.loads(output.strip().splitlines()[-1])
    return Figures(
        result["requests"],
        result["requests"] / result["seconds"],
        result["p50"] / 1000,
        result["p99"] / 1000,
        result["non_2xx"],
        result["failed"],
    )


def pgbench(cluster, key, digest, script, clients, seconds, base=0):
    """A floor: a script of `floors/`, as the service's role, statements prepared."""
    with tempfile.TemporaryDirectory() as directory:
        variables = {"i": 0, "base": base, "app": APP, "key": key["client_key"], "digest": digest, "permissions": "{customers:delete}"}
        definitions = [part for name, value in variables.items() for part in ("-D", f"{name}={value}")]
        run(
            "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-T", str(seconds), *definitions,
            "-f", str(HERE / "floors" / f"{script}.sql"), "-l", "--log-prefix", f"{directory}/log",
            cluster.url_of("customerd_service"), env=cluster.env,
        )  # fmt: skip
        times = sorted(
            int(line.split()[2]) / 1000
            for log in pathlib.Path(directory).iterdir()
            for line in log.read_text().splitlines()
        )
    return Figures(len(times), len(times) / seconds, percentile(times, 50), percentile(times, 99))


def percentile(ordered, percent):
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def median(runs):
    """The median of each figure over rounds, and the spread of the throughput: (highest - lowest) / median."""
    def middle(values):
        return sorted(values)[len(values) // 2]

    fields = collections.OrderedDict(
        (field.name, middle([getattr(figures, field.name) for figures in runs])) for field in dataclasses.fields(Figures)
    )
    rates = [figures.per_second for figures in runs]
    return Figures(**fields), (max(rates) - min(rates)) / middle(rates)


def per_request(costs):
    """The median over rounds of what one request costs."""
    def middle(values):
        return sorted(values)[len(values) // 2]

    return {
        "service_cpu_ms": middle([c.service_cpu / n * 1000 for c, n in costs]),
        "backend_cpu_ms": middle([c.backend_cpu / n * 1000 for c, n in costs]),
        "commits": middle([c.commits / n for c, n in costs]),
        "wal_bytes": middle([c.wal_bytes / n for c, n in costs]),
        "wal_images": middle([c.wal_images / n for c, n in costs]),
        "wal_syncs": middle([c.wal_syncs / n for c, n in costs]),
    }
