"""What is measured: one private cluster, one service on it, and the resources that both use."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
APP = "be9c0000-0000-4000-8000-000000000001"


def run(*command, env=None, stdin=None):
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))[:200]}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def cpu_seconds(pid):
    """What the threads of a process have run so far, to the nanosecond; 0 when it is gone."""
    try:
        threads = list(pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


@dataclasses.dataclass
class Spent:
    """What the cluster and the service have used so far, or between two moments."""

    service_cpu: float
    backend_cpu: float
    commits: int
    wal_bytes: int
    wal_images: int
    wal_syncs: int

    def __sub__(self, earlier):
        return Spent(*(a - b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(earlier))))


class Cluster:
    """A private PostgreSQL of the benchmark's own, in a directory that `close` removes."""

    def __init__(self, directory, settings):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"CUSTOMERD_DATA_DIR": directory}
        options = [part for setting in settings for part in ("-c", setting)]
        run(ROOT / "scripts/db", "start", *options, env=self.env)
        self.url = run(ROOT / "scripts/db", "url", env=self.env).strip()

    def url_of(self, role):
        return self.url.replace("//postgres@", f"//{role}@")

    def psql(self, *arguments, stdin=None):
        options = ("-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.url)
        return run("psql", *options, *arguments, stdin=stdin, env=self.env).strip()

    def sql(self, query):
        return self.psql("-c", query)

    def close(self):
        run(ROOT / "scripts/db", "remove", env=self.env)


class Service:
    """A server, from exec to SIGTERM: `customerd serve`, or a peer that takes the same settings."""

    def __init__(self, command, cluster, port, role="customerd_service", **settings):
        self.cluster = cluster
        self.port = port
        self.role = role
        environment = cluster.env | {
            "DATABASE_URL": cluster.url_of(role),
            "CUSTOMERD_PORT": str(port),
            "CUSTOMERD_RATE_LIMIT": "1000000000",
            "LOG_LEVEL": "warning",
        }
        # A file: a pipe would need a reader while requests are measured.
        self.log = tempfile.TemporaryFile("w+")
        start = time.monotonic()
        self.process = subprocess.Popen(command, env=environment | settings, stderr=self.log)
        self.seconds_to_first_answer = self._await_answer(start)

    def _await_answer(self, start):
        while time.monotonic() - start < 30:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=1):
                    return time.monotonic() - start
            except OSError:
                if self.process.poll() is not None:
                    self.log.seek(0)
                    raise SystemExit(f"bench: the service ended: {self.log.read()[-2000:]}") from None
                time.sleep(0.001)
        raise SystemExit("bench: the service didn't become ready")

    def peak_memory(self):
        """Resident bytes at the highest since the last `forget_peak`."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def spent(cluster, service):
    """Backends are those of the service's role: what the service makes PostgreSQL do, without checkpointer and kin."""
    role = service.role if service else "customerd_service"
    row = json.loads(
        cluster.sql(
            f"""
            SELECT jsonb_build_object(
                'pids', (SELECT jsonb_agg(pid) FROM pg_stat_activity WHERE usename = '{role}'),
                'commits', (SELECT sum(xact_commit) FROM pg_stat_database),
                'wal', (SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn),
                'images', (SELECT wal_fpi FROM pg_stat_wal),
                'syncs', (SELECT wal_sync FROM pg_stat_wal))
            """
        )
    )
    return Spent(
        cpu_seconds(service.process.pid) if service else 0.0,
        sum(map(cpu_seconds, row["pids"] or [])),
        int(row["commits"]),
        int(row["wal"]),
        int(row["images"]),
        int(row["syncs"]),
    )
