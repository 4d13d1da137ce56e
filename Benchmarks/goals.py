"""The goals of the service, beside the measured values."""

import operator

import report

SIGNS = {"≥": operator.ge, "≤": operator.le}


def of(results):
    """The goals that this run can check: name, measured value, comparison, wanted value."""
    goals = []
    if rows := results.get("throughput"):
        goals += throughput({(row["name"], row["connections"]): row for row in rows})
    if start := results.get("start"):
        middle = start["milliseconds"][len(start["milliseconds"]) // 2]
        goals.append(("from exec to the first answer, ms", middle, "≤", 100))
    if rows := results.get("growth"):
        first, last = rows[0], rows[-1]
        name = f"CPU of a deletion at {last['customers']:,} customers, of that at {first['customers']:,}"
        goals.append((name, cpu(last) / cpu(first), "≤", 1.3))
        goals.append(("sequential scans on the way", sum(row["scans"] for row in rows), "≤", 0))
    if rows := results.get("folding"):
        found = {row["name"]: row for row in rows}
        goals += [
            ("CPU of a deletion with the tree, of that without", cpu(found["with"]) / cpu(found["without"]), "≤", 1.03),
            ("deletions a second with the tree, of those without", found["with"]["rate"] / found["without"]["rate"], "≥", 0.97),
        ]
    if found := results.get("proofs"):
        p99 = {row["name"]: row["p99"] for row in found["http"]}
        goals += [
            (f"p99 of a proof at {found['entries']:,} entries, ms", p99["proof"], "≤", 10),
            ("p99 of a certificate there, ms", max(p99.values()), "≤", 20),
            ("consistency of two checkpoints there, ms", found["consistency_ms"][-1], "≤", 50),
            ("a checkpoint after 3,600 more entries, ms", found["incremental_ms"][-1], "≤", 1000),
        ]
    if events := results.get("events"):
        goals += [
            ("events to a fast receiver, a second", events["delivery"]["per_second"], "≥", 2000),
            ("deletions with a webhook, of those without", events["beside"]["ratio"], "≥", 0.95),
            ("an idle listener, KiB", events["listeners"]["kib_each"], "≤", 40),
            # A look falls into the period, or it doesn't.
            ("look-ups a second for all listeners", events["listeners"]["look_ups_per_second"], "≤", 1.2),
        ]
    return [
        {"goal": name, "measured": measured, "sign": sign, "wanted": wanted, "reached": SIGNS[sign](measured, wanted)}
        for name, measured, sign, wanted in goals
    ]


def throughput(found):
    goals = []

    def rate(name, connections):
        return found[name, connections]["per_second"]

    if ("delete", 32) in found:
        delete = found["delete", 32]
        goals += [
            ("deletions at 32 connections, of floor a", rate("delete", 32) / rate("floor a", 32), "≥", 1.0),
            ("the same, of floor b (stretch)", rate("delete", 32) / rate("floor b", 32), "≥", 0.7),
            ("replays at 32, of floor d", rate("replay", 32) / rate("floor d", 32), "≥", 0.9),
            ("404s at 32, of floor d", rate("missing", 32) / rate("floor d", 32), "≥", 0.9),
            ("CPU of the service, of its backends'", delete["service_cpu_ms"] / delete["backend_cpu_ms"], "≤", 1.0),
        ]
    if ("delete", 1) in found:
        over = found["delete", 1]["p50"] - found["floor a", 1]["p50"]
        goals.append(("p50 of a deletion at one connection, over floor a's, ms", over, "≤", 0.3))
    if ("delete", 128) in found:
        peak = max(row.get("peak_memory", 0) for (_, connections), row in found.items() if connections == 128)
        goals.append(("peak memory at 128 connections, MiB", peak / 2**20, "≤", 60))
    return goals


def cpu(row):
    """Of a request, the service's and its backends' together, milliseconds."""
    return row["service_cpu_ms"] + row["backend_cpu_ms"]


def show(goals):
    print()
    print(
        report.table(
            ["goal", "measured", "", "wanted", ""],
            [
                [g["goal"], f"{g['measured']:.2f}", g["sign"], f"{g['wanted']:g}", "yes" if g["reached"] else "NO"]
                for g in goals
            ],
        )
    )
