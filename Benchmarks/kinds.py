"""What the backends of the service spend their CPU on during deletions, by kind of work."""

import collections
import pathlib
import shutil
import signal
import subprocess
import tempfile

import report
from measured import run

CONNECTIONS = (1, 32)
# Samples a second: a prime, so that no periodic work is met always or never.
FREQUENCY = 1997

# A sample belongs to the innermost function of its stack that is in this table, by its name or its beginning (…*). Static
# functions have no names in Debian's build: their time is that of the exported function that called them.
KINDS = {
    "flushing the WAL": ["XLogFlush", "issue_xlog_fsync"],
    "writing the WAL": ["XLogInsert*", "XLogBeginInsert", "XLogRegister*"],
    "foreign keys, triggers": ["RI_*", "AfterTrigger*", "ExecBR*", "ExecAR*", "ExecBS*", "ExecAS*"],
    "index inserts": ["ExecInsertIndexTuples", "btinsert", "index_insert", "_bt_doinsert"],
    "index scans": ["index_get*", "index_beginscan*", "index_endscan", "index_rescan", "btget*", "_bt_first", "_bt_next"],
    "heap": ["heap_*", "simple_heap_*", "table_tuple_*", "ReadBuffer*", "toast_*", "detoast_*", "pglz_*"],
    "executor: start": ["standard_ExecutorStart", "ExecInit*", "InitPlan", "InitResultRelInfo"],
    "executor: end": ["standard_ExecutorEnd", "standard_ExecutorFinish", "ExecEndNode", "FreeExecutorState"],
    "planning, plan cache": ["GetCachedPlan", "standard_planner", "pg_plan_quer*", "pg_analyze*", "RevalidateCachedQuery",
                             "CheckExprStillValid", "SPI_plan_get_cached_plan", "ReleaseCachedPlan"],
    "settings": ["set_config*", "SetConfigOption", "GetConfigOption*", "AtEOXact_GUC", "ProcessGUCArray", "NewGUCNestLevel"],
    "jsonb and text": ["jsonb_*", "JsonbValueToJsonb", "JsonbIterator*", "json_*", "row_to_json", "pushJsonbValue",
                       "jsonb_populate_record", "populate_record*", "textcat", "text_to_cstring", "cstring_to_text*"],
    "hashes, random": ["pg_cryptohash*", "pg_sha256*", "sha256_bytea", "pg_strong_random", "gen_random_uuid", "SHA256*"],
    "beginning and ending transactions": ["StartTransactionCommand", "CommitTransactionCommand", "GetSnapshotData",
                                          "BeginInternalSubTransaction", "ReleaseCurrentSubTransaction", "PopActiveSnapshot"],
    "locks": ["LockAcquire*", "LockRelease*", "LWLockAcquire", "ProcSleep", "XactLockTable*"],
    "messages and sockets": ["secure_*", "internal_flush", "pq_*", "socket_*", "WaitEventSetWait", "pgstat_report_*",
                             "printtup*", "EndCommand", "ReadyForQuery"],
    "statements: the rest": ["_SPI_*", "SPI_*", "standard_ExecutorRun", "PortalRun", "PortalStart"],
    "PL/pgSQL": ["plpgsql_*"],
    "protocol": ["PostgresMain"],
}  # fmt: skip
REST = "other"
EXACT = {name: kind for kind, names in KINDS.items() for name in names if not name.endswith("*")}
BEGINNINGS = [(name[:-1], kind) for kind, names in KINDS.items() for name in names if name.endswith("*")]


def kinds(bench):
    """Samples the stacks of the service's backends under `perf`, at one connection and at many."""
    if not shutil.which("perf"):
        raise SystemExit("bench: the part kinds needs perf (Debian: linux-perf)")
    shares, costs = {}, {}
    for connections in CONNECTIONS:
        bench.scenario("delete", connections)  # so that the pool has its sessions
        backends = set(bench.cluster.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'customerd_service'").split())
        with tempfile.TemporaryDirectory() as directory:
            samples = pathlib.Path(directory) / "samples"
            perf = subprocess.Popen(
                ["perf", "record", "-q", "-g", "-F", str(FREQUENCY), "-p", ",".join(backends), "-o", samples],
                stderr=subprocess.DEVNULL,
            )
            try:
                figures, cost, _ = bench.scenario("delete", connections)
            finally:
                perf.send_signal(signal.SIGINT)
                perf.wait()
            shares[connections] = share(run("perf", "script", "-i", str(samples), "-F", "pid,ip,sym"))
        costs[connections] = cost.backend_cpu / figures.requests * 1000
    bench.results["kinds"] = {
        "backend_cpu_ms": costs,
        "shares": {kind: {n: shares[n].get(kind, 0) for n in CONNECTIONS} for kind in [*KINDS, REST]},
    }
    show(bench.results["kinds"])


def share(script):
    """The part of all samples that each kind has. Stacks are separated by empty lines, innermost function first."""
    counted = collections.Counter(
        next((kind for line in stack.splitlines()[1:] if (kind := kind_of(line))), REST)
        for stack in script.split("\n\n") if stack.strip()
    )  # fmt: skip
    total = counted.total() or 1
    return {kind: count / total for kind, count in counted.items()}


def kind_of(line):
    parts = line.split(maxsplit=1)
    name = parts[1] if len(parts) == 2 else ""
    return EXACT.get(name) or next((kind for beginning, kind in BEGINNINGS if name.startswith(beginning)), None)


def show(found):
    print("\nCPU of PostgreSQL for a deletion, by kind of work (ms)")
    rows = [
        [kind, *(f"{shares[n] * found['backend_cpu_ms'][n]:.3f}" for n in CONNECTIONS), *(f"{shares[n]:.0%}" for n in CONNECTIONS)]
        for kind, shares in sorted(found["shares"].items(), key=lambda item: -item[1][CONNECTIONS[0]])
    ]
    rows.append(["all", *(f"{found['backend_cpu_ms'][n]:.3f}" for n in CONNECTIONS), "", ""])
    print(report.table(["kind", *(f"{n} conns" for n in CONNECTIONS), "", ""], rows))
