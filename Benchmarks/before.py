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
        rows = [row for connections in options.concurrency for row in compared(earlier, bench, connections)]
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


def compared(earlier, later, connections):
    """A row for each kind of request."""
    rounds = {name: [] for name in later.SCENARIOS}
    for number in range(1, later.options.rounds + 1):
        later.say(f"round {number} of {later.options.rounds}, {connections} connections")
        for name, measured in rounds.items():
            # Each goes first as often as the other: what runs second finds other things in the caches.
            turns = [earlier, later] if number % 2 else [later, earlier]
            found = {side: one(side, name, connections) for side in turns}
            measured.append((found[earlier], found[later]))
    return [row(name, connections, measured) for name, measured in rounds.items()]


def one(side, name, connections):
    figures, cost, _ = side.scenario(name, connections)
    each = cost.service_cpu + cost.backend_cpu
    return {"rate": figures.per_second, "p50": figures.p50, "cpu": each / figures.requests * 1000}


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
    }  # fmt: skip
