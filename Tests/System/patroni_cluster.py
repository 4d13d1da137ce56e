"""Three nodes of PostgreSQL under Patroni, with three etcd, on loopback, whose links can be cut; patroni_faults.py uses it."""

import asyncio
import functools
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.request

SETTINGS = (pathlib.Path(__file__).parents[2] / "deploy/patroni/patroni.yml").read_text()


def replaced(text, replacements):
    """A text with each of some strings, which it has, replaced."""
    for there, here in replacements.items():
        assert there in text, there
        text = text.replace(there, here)
    return text


def eventually(what, condition, seconds=60):
    """Waits until a condition holds, and returns what it returned."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.1)
    return value


def free_ports(count):
    """Free ports, below the range that the kernel hands to outgoing connections."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as client:
            if port not in ports and client.connect_ex(("127.0.0.1", port)) != 0:
                ports.append(port)
    return ports


@functools.cache
def needs_old_api():
    """Whether this Patroni mustn't use version 3 of etcd's API: deploy/patroni has why."""
    version = subprocess.run(["patroni", "--version"], check=True, capture_output=True, text=True).stdout.split()[-1]
    return tuple(int(part) for part in version.split(".")) < (3, 0, 3)


class Links:
    """Ports that pass on to others, by a thread of their own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def to(self, port):
        return Link(self, port)


class Link:
    """A way to a port. While it is cut nothing passes, and nobody is told: packets just don't arrive."""

    def __init__(self, links, target):
        self.links, self.target = links, target
        self.passes = asyncio.Event()
        self.links.loop.call_soon_threadsafe(self.passes.set)
        self.port = links.call(self.listen())

    async def listen(self):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def accept(self, reader, writer):
        try:
            await self.passes.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pass_on(reader, back), self.pass_on(there, writer))

    async def pass_on(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self.passes.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # either side is gone, which the other is told
        finally:
            writer.close()

    def cut(self):
        self.links.loop.call_soon_threadsafe(self.passes.clear)

    def mend(self):
        self.links.loop.call_soon_threadsafe(self.passes.set)


class Process:
    """A program with its log, run as a user whom PostgreSQL accepts."""

    def __init__(self, place, name, *command):
        self.log, self.command = place / f"{name}.log", [str(word) for word in command]
        self.child = None

    def start(self):
        with open(self.log, "a") as log:
            # As root, which PostgreSQL refuses to run as. In a session of its own: Ctrl-C is for whoever ends all in order.
            user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", **user)

    def end(self, how=signal.SIGTERM):
        if self.child:
            self.child.send_signal(how)
            self.child.wait()


def descendants(roots):
    """The processes and all that they started."""
    found, parents = list(roots), {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass  # gone meanwhile
    for one in found:
        found += [child for child, parent in parents.items() if parent == one and child not in found]
    return found


class Node:
    """PostgreSQL with its Patroni, and the links that lead from it to etcd and from the others to it."""

    def __init__(self, place, name, links, etcd_ports, bin_dir):
        self.name, self.place, self.data = name, place, place / name
        self.port, self.rest = free_ports(2)
        to_etcd = [links.to(port) for port in etcd_ports]
        to_postgres, to_rest = links.to(self.port), links.to(self.rest)
        self.links = [*to_etcd, to_postgres, to_rest]
        self.settings = place / f"{name}.yml"
        self.settings.write_text(replaced(SETTINGS, {
            "name: node1\n": f"name: {name}\n",
            " listen: 10.0.0.21:8008": f" listen: 127.0.0.1:{self.rest}",
            " connect_address: 10.0.0.21:8008": f" connect_address: 127.0.0.1:{to_rest.port}",
            # As proxies: it mustn't ask etcd for its members, and find ways past the links.
            "\netcd:\n": f"\n{'etcd' if needs_old_api() else 'etcd3'}:\n",
            "[10.0.0.21:2379, 10.0.0.22:2379, 10.0.0.23:2379]":
                f"[{', '.join(f'127.0.0.1:{link.port}' for link in to_etcd)}]\n  use_proxies: true",
            # The shortest times that Patroni allows.
            " ttl: 20": " ttl: 5", " loop_wait: 5": " loop_wait: 1", " retry_timeout: 5": " retry_timeout: 2",
            " listen: 10.0.0.21:5432": f" listen: 127.0.0.1:{self.port}",
            " connect_address: 10.0.0.21:5432": f" connect_address: 127.0.0.1:{to_postgres.port}",
            " max_connections: 200": " max_connections: 100\n        unix_socket_directories: ''",
            "/var/lib/postgresql/customerd": str(self.data), "/usr/lib/postgresql/15/bin": bin_dir,
            "/run/postgresql/patroni.pgpass": str(place / f"{name}.pgpass"),
            "10.0.0.0/24 scram-sha-256": "127.0.0.1/32 trust",
            # Of which a machine has one, and these are three nodes.
            " mode: required": " mode: off"}))
        self.patroni = Process(place, name, "patroni", self.settings)

    def start(self):
        self.patroni.start()

    def state(self, of="patroni"):
        """What its Patroni says, of itself or of the cluster; nothing when it doesn't."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/{of}", timeout=1) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:  # 503 with a body while PostgreSQL doesn't run
            return json.load(answer)
        except (OSError, ValueError):
            return {}

    def leads(self):
        state = self.state()
        return state.get("role") in ("master", "primary") and state.get("state") == "running"

    def processes(self):
        roots = [self.patroni.child.pid]
        try:
            roots.append(int((self.data / "postmaster.pid").read_text().split()[0]))
        except (OSError, IndexError):
            pass  # PostgreSQL doesn't run
        return descendants(roots)

    def signal(self, what, again=False):
        """Sends a signal to all of its processes, and to those that they start meanwhile."""
        seen = set()
        while new := [one for one in self.processes() if one not in seen]:
            for one in new:
                try:
                    os.kill(one, what)
                except ProcessLookupError:
                    pass
            seen.update(new)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.patroni.child.wait()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.signal(signal.SIGCONT)

    def cut_off(self):
        """From etcd and the other nodes, not from clients."""
        for link in self.links:
            link.cut()

    def reconnect(self):
        for link in self.links:
            link.mend()

    def ask(self, sql, database):
        """What SQL says on this node; nothing when it can't be asked."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/{database}?connect_timeout=2"
        asked = subprocess.run(["psql", "-XqAt", "-d", url, "-c", sql], capture_output=True, text=True)
        return asked.stdout.strip() if asked.returncode == 0 else None


class Cluster:
    """Three nodes and three etcd, in a directory that PostgreSQL's user can write to."""

    def __init__(self, place, bin_dir):
        links, count = Links(), 3
        ports = free_ports(2 * count)
        clients, peers = ports[:count], ports[count:]
        members = ",".join(f"etcd{number}=http://127.0.0.1:{port}" for number, port in enumerate(peers, 1))
        self.etcd = [
            Process(
                place, f"etcd{number}", "etcd", "--name", f"etcd{number}", "--data-dir", place / f"etcd{number}",
                "--listen-client-urls", f"http://127.0.0.1:{client}",
                "--advertise-client-urls", f"http://127.0.0.1:{client}",
                "--listen-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                "--initial-cluster", members, "--logger", "zap", "--log-level", "warn",
                *(["--enable-v2"] if needs_old_api() else []))
            for number, (client, peer) in enumerate(zip(clients, peers), 1)]
        self.etcd_ports = clients
        self.nodes = [Node(place, f"node{number}", links, clients, bin_dir) for number in range(1, count + 1)]

    def start(self):
        for etcd in self.etcd:
            etcd.start()
        eventually("etcd has a leader", self.etcd_is_healthy)
        for node in self.nodes:
            node.start()
        eventually("three nodes replicate", self.is_whole, 120)

    def etcd_is_healthy(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.etcd_ports[0]}/health", timeout=1) as answer:
                return json.load(answer)["health"] == "true"
        except OSError:
            return False

    def url(self):
        """The database `postgres` on whichever node takes writes, as a superuser."""
        ports = ",".join(str(node.port) for node in self.nodes)
        hosts = ",".join("127.0.0.1" for _ in self.nodes)
        return f"postgresql://postgres@/postgres?host={hosts}&port={ports}&target_session_attrs=read-write"

    def leader(self, other_than=None):
        return next((node for node in self.nodes if node is not other_than and node.leads()), None)

    def await_leader(self, other_than):
        return eventually("another node leads", lambda: self.leader(other_than))

    def standby(self):
        """The synchronous one, which alone may be promoted; none until both PostgreSQL and etcd say so."""
        leader = self.leader()
        followers = leader.state().get("replication", []) if leader else []
        synchronous = {one["application_name"] for one in followers if one["sync_state"] == "sync"}
        members = leader.state("cluster").get("members", []) if leader else []
        promotable = {one["name"] for one in members if one["role"] == "sync_standby"}
        return next((node for node in self.nodes if node.name in synchronous & promotable), None)

    def is_whole(self):
        """Whether one node leads and the others follow, one of them synchronously."""
        states = [node.state() for node in self.nodes]
        leaders = [state for state in states if state.get("role") in ("master", "primary")]
        if len(leaders) != 1 or any(state.get("state") not in ("running", "streaming") for state in states):
            return False
        streams = [one["state"] for one in leaders[0].get("replication", [])]
        return streams == ["streaming"] * (len(self.nodes) - 1) and self.standby() is not None

    def switch_over(self, leader):
        """As an operator does; the leader hands over to its synchronous standby."""
        command = ["patronictl", "-c", leader.settings, "switchover", "--leader", leader.name, "--force", "customerd"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def end(self):
        """Ends what still runs, without ceremony: nothing is kept."""
        for node in self.nodes:
            if node.patroni.child:
                node.kill()
        for etcd in self.etcd:
            etcd.end(signal.SIGKILL)
