"""The service beside an earlier version of itself, in one run."""

import copy
import pathlib
import statistics

import report


def before(bench):
    """Every kind of request of both versions in turn, each on a cluster of its own: ratios of the same round, their medians."""
    options = copy.copy(bench.options)
    options.binary, options.directory = options.before_binary, options.before_directory
    options.port += 2
    prepare = pathlib.Path(options.before) / "Benchmarks/prepare.sql"
    earlier = type(bench)(options, prepare)
    try:
        rows = [
            row
            for connections in options.concurrency
            for row in compared(bench, connections, earlier.scenario, bench.scenario)
        ]
    finally:
        earlier.close()
    bench.results["before"] = rows
    print("\nBeside the earlier version: ratios of the same round, medians (lowest and highest)")
    print(
        report.table(
            ["", "conns", "per second", "of earlier", "", "p50 ms", "of earlier", "CPU ms", "of earlier"],
            [
                [r["name"], r["connections"], f"{r['per_second']:,.0f}", f"{r['rate_ratio']:.2f}",
                 f"{r['lowest_ratio']:.2f}–{r['highest_ratio']:.2f}", f"{r['p50']:.2f}", f"{r['p50_ratio']:.2f}",
                 f"{r['cpu_ms']:.3f}", f"{r['cpu_ratio']:.2f}"]
                for r in rows
            ],
        )
    )  # fmt: skip


def compared(bench, connections, first, second):
    """A row for each kind of request: how the second measured function compares with the first."""
    rounds = {name: [] for name in bench.SCENARIOS}
    for number in range(1, bench.options.rounds + 1):
        bench.say(f"round {number} of {bench.options.rounds}, {connections} connections")
        for name, measured in rounds.items():
            # Each goes first as often as the other: what runs second finds other things in the caches.
            turns = [first, second] if number % 2 else [second, first]
            found = {side: figures(*side(name, connections)) for side in turns}
            measured.append((found[first], found[second]))
    return [row(name, connections, measured) for name, measured in rounds.items()]


def figures(found, cost, memory):
    """What is compared of one run; times in milliseconds, of one request each."""
    def each(seconds):
        return seconds / found.requests * 1000

    return {
        "rate": found.per_second, "p50": found.p50, "cpu": each(cost.service_cpu + cost.backend_cpu),
        "service_cpu": each(cost.service_cpu), "backend_cpu": each(cost.backend_cpu),
        "wal": cost.wal_bytes / found.requests, "images": cost.wal_images / found.requests,
        "syncs": cost.wal_syncs / found.requests, "memory": memory,
    }  # fmt: skip


def row(name, connections, measured):
    def ratios(figure):
        return [after[figure] / before[figure] for before, after in measured]

    def middle(figure):
        return statistics.median(after[figure] for _, after in measured)

    return {
        "name": name, "connections": connections, "per_second": middle("rate"), "p50": middle("p50"),
        "cpu_ms": middle("cpu"), "rate_ratio": statistics.median(ratios("rate")), "lowest_ratio": min(ratios("rate")),
        "highest_ratio": max(ratios("rate")), "p50_ratio": statistics.median(ratios("p50")),
        "cpu_ratio": statistics.median(ratios("cpu")),
        "first": medians(before for before, _ in measured), "second": medians(after for _, after in measured),
    }  # fmt: skip


def medians(runs):
    runs = list(runs)
    return {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
