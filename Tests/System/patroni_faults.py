"""Breaks a cluster under Patroni while the clients of the chaos runner ask two instances; Tests/System/patroni runs this."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.request

from patroni_cluster import Cluster, eventually

CHAOS, CUSTOMERD = os.environ["PATRONI_CHAOS"], os.environ["PATRONI_CUSTOMERD"]


class Load:
    """The clients, and the judge of what they see: `chaos`, which is told of faults on its standard input."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.child = subprocess.Popen(
            [CHAOS, "--server", cluster.url(), *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "CUSTOMERD_BIN": CUSTOMERD})
        said = dict(self.child.stdout.readline().strip().split(": ", 1) for _ in range(2))
        self.database, self.ports = said["database"], said["instances"].split()

    def tell(self, what):
        self.child.stdin.write(f"{what}\n")
        self.child.stdin.flush()

    def is_ready(self):
        """Whether all instances are."""
        try:
            for port in self.ports:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5).close()
            return True
        except OSError:
            return False

    def entries(self):
        leader = self.cluster.leader()
        count = leader and leader.ask("SELECT count(*) FROM audit.entries", self.database)
        return int(count) if count else None

    def await_writes(self, count=50):
        """Waits until clients have written something."""
        before = eventually("the leader can be asked", self.entries)
        eventually("clients write", lambda: (self.entries() or 0) >= before + count)

    def suffer(self, name, fault):
        """One fault, from a cluster that is whole to one that is whole again."""
        self.await_writes()
        self.tell(f"began {name}")
        fault(self.cluster)
        eventually("all nodes are back", self.cluster.is_whole)
        eventually("the instances are ready", self.is_ready)
        self.tell(f"over {name}")
        self.await_writes()

    def judge(self):
        """Lets the clients end, and prints the verdict."""
        report, _ = self.child.communicate()
        print(report, end="")
        return self.child.returncode

    def end(self):
        self.child.kill()
        self.child.wait()


# --- faults -----------------------------------------------------------------------------------------------------------

def leader_killed(cluster):
    leader = cluster.leader()
    leader.kill()
    cluster.await_leader(other_than=leader)
    leader.start()


def leader_paused(cluster):
    leader = cluster.leader()
    leader.pause()
    cluster.await_leader(other_than=leader)
    leader.go_on()


def leader_cut_off(cluster):
    leader = cluster.leader()
    leader.cut_off()
    cluster.await_leader(other_than=leader)
    leader.reconnect()


def switchover(cluster):
    leader = cluster.leader()
    cluster.switch_over(leader)
    cluster.await_leader(other_than=leader)


def standby_killed(cluster):
    standby = cluster.standby()
    standby.kill()
    eventually("the other standby is synchronous", lambda: cluster.standby() not in (standby, None))
    standby.start()


FAULTS = {
    "leader killed": leader_killed,
    "leader paused": leader_paused,
    "leader cut off from etcd and the others": leader_cut_off,
    "switchover": switchover,
    "synchronous standby killed": standby_killed,
}


def verify_everywhere(cluster, database):
    """Each node, leader or standby, has the same trail, and it verifies."""
    def reports():
        ran = [
            subprocess.run(
                [CUSTOMERD, "audit", "verify", "--json"], capture_output=True, text=True,
                env={**os.environ, "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{node.port}/{database}"})
            for node in cluster.nodes]
        return [json.loads(one.stdout) for one in ran]

    # A standby may be a moment behind.
    found = eventually("all nodes have one trail", lambda: (all_ := reports()) and all_[1:] == all_[:-1] and all_)
    assert found[0]["verified"] == found[0]["entries"] > 0, found
    print(f"audit verify, on each of the three nodes: {found[0]['verified']} entries, all good")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    place = pathlib.Path(os.environ["PATRONI_PLACE"])
    cluster = Cluster(place, os.environ["PATRONI_PG_BIN"])
    load = None
    try:
        cluster.start()
        load = Load(cluster)
        for name, fault in FAULTS.items():
            load.suffer(name, fault)
        status = load.judge()
        verify_everywhere(cluster, load.database)
        return status
    except Exception:
        for log in sorted(place.glob("*.log")):
            print(f"--- the end of {log.name}", *log.read_text().splitlines()[-25:], sep="\n", file=sys.stderr)
        raise
    finally:
        if load:
            load.end()
        cluster.end()


if __name__ == "__main__":
    sys.exit(main())
