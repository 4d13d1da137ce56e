"""Three instances behind haproxy; Tests/System/haproxy runs this."""

import collections
import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.parse
import urllib.request
import uuid

from setting import URL, App, sql

ROOT = pathlib.Path(__file__).parents[2]
PLACE = pathlib.Path(os.environ["HAPROXY_PLACE"])
DATABASE = os.environ["SERVICE_PSQL_URL"]
# How long an attempt whose instance died keeps its key: the deadline and five seconds.
DEADLINE, LEASE = 5, 10


def free_port():
    """A free port, below the range that the kernel hands to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) != 0:
                return port


def eventually(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.05)
    return value


def with_user(user):
    return f"{DATABASE}{'&' if '?' in DATABASE else '?'}user={user}"


class Instance:
    def __init__(self, name, port, user="customerd_service"):
        self.name, self.port, self.user = name, port, user
        self.process = None

    def start(self):
        settings = {
            "DATABASE_URL": with_user(self.user), "CUSTOMERD_PORT": str(self.port), "LOG_LEVEL": "warning",
            "CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": str(DEADLINE)}
        with open(PLACE / f"{self.name}.log", "a") as log:
            self.process = subprocess.Popen(
                [os.environ["SERVICE_CUSTOMERD"], "serve"], env={**os.environ, **settings}, stdout=log, stderr=log)

    def is_ready(self):
        # Another service may answer where this one found its port taken.
        assert self.process.poll() is None, (PLACE / f"{self.name}.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:  # of which urllib's own are
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Balancer:
    """haproxy with the configuration of deploy/haproxy, whose addresses are replaced by ours."""

    def __init__(self, instances):
        text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
        self.socket = PLACE / "admin.sock"
        places = {"10.0.0.10:8080": urllib.parse.urlsplit(URL).netloc, "/run/haproxy/admin.sock": str(self.socket)}
        places |= {f"10.0.0.1{number}:8080": f"127.0.0.1:{one.port}" for number, one in enumerate(instances, 1)}
        for there, here in places.items():
            assert f" {there}" in text, there
            text = text.replace(f" {there}", f" {here}")
        # The last section is the backend.
        (PLACE / "haproxy.cfg").write_text(text + "    http-response set-header X-Served-By %[srv_name]\n")
        self.process = subprocess.Popen(["haproxy", "-db", "-f", PLACE / "haproxy.cfg"])
        eventually("haproxy listens", self.socket.exists)
        assert self.process.poll() is None, "haproxy has ended"

    def command(self, line):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def state(self, name, column="status"):
        columns, *rows = [line.split(",") for line in self.command("show stat").lstrip("# ").splitlines() if line]
        return next(row[columns.index(column)] for row in rows if row[:2] == ["customerd", name])

    def wait(self, name, state):
        eventually(f"haproxy holds {name} to be {state}", lambda: self.state(name).startswith(state))

    @contextlib.contextmanager
    def only(self, name):
        """Sends new requests to one instance alone."""
        others = [one for one in ("one", "two", "three") if one != name]
        for other in others:
            self.command(f"set server customerd/{other} state maint")
        try:
            yield
        finally:
            for other in others:
                self.command(f"set server customerd/{other} state ready")
                self.wait(other, "UP")

    def close(self):
        self.process.terminate()
        self.process.wait()


class Lock:
    """The lock of a customer's row, which the unit of work waits for."""

    def __init__(self, app, customer):
        self.psql = subprocess.Popen(
            ["psql", "-XqAt", "-d", DATABASE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.psql.stdin.write(
            f"BEGIN; SELECT 'locked' FROM customers WHERE app_id = '{app.id}' AND id = '{customer}' FOR UPDATE;\n")
        self.psql.stdin.flush()
        assert self.psql.stdout.readline() == "locked\n"

    def waiting(self):
        return sql("SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                   "AND wait_event_type = 'Lock'").split()

    def end_who_waits(self):
        for backend in self.waiting():
            sql(f"SELECT pg_terminate_backend({backend}, 10000)")
        self.release()

    def release(self):
        if self.psql.returncode is not None:
            return
        self.psql.communicate("ROLLBACK;\n")  # and waits for its end


class HAProxyTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The third logs in with a role of its own, so that it can be shut out alone.
        cls.login = f"customerd_test_{os.getpid()}"
        sql(f"CREATE ROLE {cls.login} LOGIN IN ROLE customerd_service")
        cls.addClassCleanup(sql, f"DROP ROLE {cls.login}")
        users = {"three": cls.login}
        cls.instances = {name: Instance(name, free_port(), users.get(name, "customerd_service"))
                         for name in ("one", "two", "three")}
        for instance in cls.instances.values():
            instance.start()
            cls.addClassCleanup(instance.kill)
        # haproxy holds a server to be up until its first check.
        for instance in cls.instances.values():
            eventually(f"{instance.name} is ready", instance.is_ready)
        cls.balancer = Balancer(list(cls.instances.values()))
        cls.addClassCleanup(cls.balancer.close)
        for name in cls.instances:
            cls.balancer.wait(name, "UP")

    def tearDown(self):
        verified = subprocess.run(
            [os.environ["SERVICE_CUSTOMERD"], "audit", "verify"], capture_output=True, text=True,
            env={**os.environ, "DATABASE_URL": DATABASE})
        self.assertEqual(verified.returncode, 0, verified.stdout)

    # --- what they share ----------------------------------------------------------------------------------------------

    def list(self, app):
        return app.office.request("GET", "/api/v0/customers?take=1")

    def test_they_share_one_budget(self):
        app = App()

        answers = [self.list(app) for _ in range(101)]

        self.assertEqual([answer.status for answer in answers], [200] * 100 + [429])
        self.assertEqual([int(answer.headers["X-RateLimit-Remaining"]) for answer in answers], [*range(99, -1, -1), 0])
        self.assertEqual(len({answer.headers["X-RateLimit-Reset"] for answer in answers}), 1)
        self.assertEqual({answer.headers["X-Served-By"] for answer in answers}, {"one", "two", "three"})
        self.assertGreater(int(answers[-1].headers["Retry-After"]), 0)

    def test_they_share_it_when_all_are_asked_at_once(self):
        app = App()

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: self.list(app), range(150)))

        granted = [answer for answer in answers if answer.status == 200]
        self.assertEqual(sorted(int(answer.headers["X-RateLimit-Remaining"]) for answer in granted), list(range(100)))
        self.assertEqual([answer.status for answer in answers if answer.status != 200], [429] * 50)

    def test_a_key_is_replayed_by_the_others(self):
        app = App()
        customer, key = app.customer(), str(uuid.uuid4())

        answers = []
        for name in self.instances:
            with self.balancer.only(name):
                answers.append(app.office.delete(customer, idempotency_key=key))

        self.assertEqual([answer.status for answer in answers], [200] * 3, [str(answer) for answer in answers])
        self.assertEqual([answer.headers["X-Served-By"] for answer in answers], list(self.instances))
        self.assertEqual({answer.body for answer in answers}, {answers[0].body})
        self.assertEqual([answer.headers["Idempotent-Replayed"] for answer in answers], [None, "true", "true"])
        self.assertEqual(app.outcomes(customer), ["SUCCEEDED", "REPLAYED", "REPLAYED"])

    def test_one_key_at_all_at_once_deletes_once(self):
        app = App()
        customer, key = app.customer(), str(uuid.uuid4())
        lock = Lock(app, customer)
        self.addCleanup(lock.release)

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            first = pool.submit(app.office.delete, customer, idempotency_key=key)
            eventually("the first waits for the row", lock.waiting)
            others = [app.office.delete(customer, idempotency_key=key) for _ in range(2)]
            lock.release()

        self.assertEqual(first.result().status, 200)
        self.assertEqual([answer.status for answer in others], [409] * 2)
        self.assertEqual(len({answer.headers["X-Served-By"] for answer in [first.result(), *others]}), 3)
        self.assertEqual(sorted(app.outcomes(customer)), ["CONFLICT", "CONFLICT", "SUCCEEDED"])

    def test_the_trail_has_the_address_of_the_client(self):
        app = App()
        customer = app.customer()
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(URL).netloc, source_address=("127.0.0.7", 0))

        connection.request("DELETE", f"/api/v0/customers/{customer}", headers={
            "x-client-key": app.office.client_key, "x-client-secret": app.office.secret,
            "idempotency-key": str(uuid.uuid4()), "X-Forwarded-For": "192.0.2.66"})

        self.assertEqual(connection.getresponse().status, 200)
        connection.close()
        self.assertEqual(sql(f"SELECT host(ip) FROM audit.entries WHERE customer_id = '{customer}'"), "127.0.0.7")

    # --- one of them is gone ------------------------------------------------------------------------------------------

    def retry(self, app, customer, key):
        """What a client does that has no answer, and how long it took."""
        began = time.monotonic()
        while (answer := app.office.delete(customer, idempotency_key=key)).status in (409, 502, 503, 504):
            self.assertLess(time.monotonic() - began, 30, answer)
            time.sleep(0.2)
        return answer, time.monotonic() - began

    def kill_in_the_middle(self, app, customer, key, then):
        """Kills an instance whose deletion waits for the row, and then does something with the lock."""
        lock = Lock(app, customer)
        self.addCleanup(lock.release)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with self.balancer.only("one"):
                cut = pool.submit(app.office.delete, customer, idempotency_key=key)
                eventually("the deletion waits for the row", lock.waiting)
                self.instances["one"].kill()
                self.addCleanup(self.restart, "one")
                then(lock)
                # By haproxy, which had no other instance to ask.
                self.assertEqual(cut.result().status, 503)
        self.balancer.wait("one", "DOWN")

    def restart(self, name):
        self.instances[name].start()
        self.balancer.wait(name, "UP")

    def test_killed_before_a_commit_that_came_through(self):
        app = App()
        customer, key = app.customer("Ada"), str(uuid.uuid4())
        # What the dead instance had sent continues in the database without it.
        self.kill_in_the_middle(app, customer, key, Lock.release)

        answer, seconds = self.retry(app, customer, key)
        again = app.office.delete(customer)

        self.assertEqual(answer.status, 200, answer)
        self.assertIn('"first_name":"Ada"', answer.body)
        self.assertEqual(answer.headers["Idempotent-Replayed"], "true")
        self.assertIn(answer.headers["X-Served-By"], ("two", "three"))
        self.assertLess(seconds, LEASE, "a receipt answers before the lease is over")
        self.assertEqual(again.status, 404)
        outcomes = [outcome for outcome in app.outcomes(customer) if outcome != "CONFLICT"]
        self.assertEqual(outcomes, ["SUCCEEDED", "REPLAYED", "NOT_FOUND"])

    def test_killed_before_a_commit_that_never_came(self):
        app = App()
        customer, key = app.customer("Ada"), str(uuid.uuid4())
        self.kill_in_the_middle(app, customer, key, Lock.end_who_waits)

        answer, _ = self.retry(app, customer, key)

        self.assertEqual(answer.status, 200, answer)
        self.assertIn('"first_name":"Ada"', answer.body)
        self.assertIsNone(answer.headers["Idempotent-Replayed"])
        # Recovery records the attempt that was cut off, before or after the retry took its key.
        eventually("both attempts are in the trail", lambda: "INTERRUPTED" in app.outcomes(customer))
        outcomes = [outcome for outcome in app.outcomes(customer) if outcome != "CONFLICT"]
        self.assertEqual(sorted(outcomes), ["INTERRUPTED", "SUCCEEDED"])

    @contextlib.contextmanager
    def load(self):
        """Clients that delete without ever trying again; their answers."""
        answers, over = collections.Counter(), threading.Event()

        def client():
            # Each app has a budget of its own.
            while not over.is_set():
                app = App()
                for customer in [app.customer() for _ in range(5)]:
                    answer = app.office.delete(customer)
                    answers[answer.status, answer.headers["X-Served-By"]] += 1

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            clients = [pool.submit(client) for _ in range(3)]
            try:
                yield answers
            finally:
                over.set()
            for each in clients:
                each.result()

    def test_replaced_one_by_one_no_request_fails(self):
        with self.load() as answers:
            for name, instance in self.instances.items():
                before = answers[200, name]
                eventually(f"{name} answers", lambda: answers[200, name] > before + 3)
                self.assertEqual(instance.stop(), 0)
                self.balancer.wait(name, "DOWN")
                self.restart(name)

        self.assertEqual({status for status, _ in answers}, {200}, answers)

    def test_one_that_lost_the_database_gets_no_requests(self):
        app = App()
        sql(f"ALTER ROLE {self.login} NOLOGIN; SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            f"WHERE usename = '{self.login}'")
        self.addCleanup(sql, f"ALTER ROLE {self.login} LOGIN")

        self.balancer.wait("three", "DOWN")
        said = self.balancer.state("three", "check_code")
        answers = [self.list(app) for _ in range(20)]
        sql(f"ALTER ROLE {self.login} LOGIN")
        self.balancer.wait("three", "UP")

        self.assertEqual(said, "503")
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual({answer.headers["X-Served-By"] for answer in answers}, {"one", "two"})
