"""Events: deliveries to a fast receiver, deletions beside them, and many idle listeners."""

import base64
import json
import multiprocessing
import os
import re
import socket
import statistics
import time

import load
import report
from measured import APP, cpu_seconds

CONNECTIONS = 32
# Of the service, allocated before the first listener and with it.
LISTENERS_BEFORE = 50


def receive(server):
    """Answers every delivery with 204, a connection after the other: webhooks of one instance have one each."""
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    length = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rest = b""
        while part := connection.recv(65536):
            rest += part
            while (end := rest.find(b"\r\n\r\n")) >= 0:
                whole = end + 4 + int(length.search(rest, 0, end)[1])
                if len(rest) < whole:
                    break
                rest = rest[whole:]
                connection.sendall(answer)
        connection.close()


class Webhook:
    """A webhook of the app of the benchmark, with its receiver, in a process of its own."""

    def __init__(self, bench):
        self.bench = bench
        server = socket.create_server(("127.0.0.1", 0))
        self.process = multiprocessing.Process(target=receive, args=(server,), daemon=True)
        self.process.start()
        self.port = server.getsockname()[1]
        self.id = json.loads(self.ask("POST", "", {"url": f"http://127.0.0.1:{self.port}/"}))["id"]

    def ask(self, method, path, body=None):
        status, answer = self.bench.call(method, f"/api/v0/webhooks{path}", body=body and json.dumps(body))
        if status not in (200, 201, 204):
            raise SystemExit(f"bench: {method} {path}: {status} {answer}")
        return answer

    def enable(self, is_enabled):
        self.ask("PATCH", f"/{self.id}", {"status": "ENABLED" if is_enabled else "DISABLED"})

    def skip(self):
        """Goes to the end of the chain."""
        self.ask("POST", f"/{self.id}/replay", {"after": int(self.bench.cluster.sql(f"SELECT seq FROM audit.heads WHERE app_id = '{APP}'"))})

    def behind(self):
        """Entries that aren't delivered yet."""
        return int(
            self.bench.cluster.sql(
                f"SELECT h.seq - w.after_seq FROM service.webhooks AS w JOIN audit.heads AS h USING (app_id) WHERE w.id = '{self.id}'"
            )
        )

    def close(self):
        self.ask("DELETE", f"/{self.id}")
        self.process.terminate()
        self.process.join()


def events(bench):
    service = bench.service
    bench.service = bench.serve(
        4, CUSTOMERD_SECRETS_KEY=base64.b64encode(bytes(32)).decode(), CUSTOMERD_WEBHOOK_ALLOW="127.0.0.1"
    )
    try:
        webhook = Webhook(bench)
        results = {"delivery": delivery(bench, webhook)}
        results["beside"] = beside(bench, webhook)
        webhook.close()
    finally:
        bench.service.stop()
        bench.service = service
    results["listeners"] = listeners(bench)
    bench.results["events"] = results
    show(results)


def delivery(bench, webhook):
    """How many events a second one instance delivers, when there are many."""
    count = bench.options.events
    webhook.enable(False)
    webhook.skip()
    for _ in range(0, count, 1000):
        bench.cluster.sql(
            f"""
            SELECT count(*)
            FROM service.append('{APP}', (
                SELECT jsonb_agg(jsonb_build_object(
                    'id', gen_random_uuid(), 'action', 'customer.delete', 'outcome', 'SUCCEEDED',
                    'customer_id', gen_random_uuid(), 'actor_name', 'load', 'request_id', gen_random_uuid()))
                FROM generate_series(1, 1000)))
            """
        )
    bench.say(f"{count:,} events to a receiver")
    before, received = cpu_seconds(bench.service.process.pid), cpu_seconds(webhook.process.pid)
    webhook.enable(True)
    start = time.monotonic()
    while webhook.behind() > 0:
        if time.monotonic() - start > 300:
            raise SystemExit("bench: the events weren't delivered")
        time.sleep(0.02)
    seconds = time.monotonic() - start
    return {
        "events": count, "seconds": seconds, "per_second": count / seconds,
        "service_cpu_ms": (cpu_seconds(bench.service.process.pid) - before) / count * 1000,
        "receiver_cpu_ms": (cpu_seconds(webhook.process.pid) - received) / count * 1000,
    }  # fmt: skip


def beside(bench, webhook):
    """Deletions with and without a webhook that has each of them, in pairs whose order alternates."""
    pairs = []
    for number in range(bench.options.pairs):
        rates, delivered = {}, 0
        for is_enabled in (False, True) if number % 2 else (True, False):
            webhook.enable(False)
            webhook.skip()
            webhook.enable(is_enabled)
            before = webhook.behind()
            figures, _, _ = bench.scenario("delete", CONNECTIONS)
            rates[is_enabled] = figures.per_second
            if is_enabled:
                delivered = min(1, (figures.requests + before - webhook.behind()) / figures.requests)
        pairs.append({"without": rates[False], "with": rates[True], "delivered": delivered})
        bench.say(f"pair {number + 1}: {rates[False]:,.0f}/s without, {rates[True]:,.0f}/s with, {delivered:.0%} delivered meanwhile")
    ratios = sorted(pair["with"] / pair["without"] for pair in pairs)
    return {"connections": CONNECTIONS, "pairs": pairs, "ratio": statistics.median(ratios), "ratios": ratios}


def listeners(bench):
    """What idle streams take, and how often the database is asked for all of them."""
    bench.cluster.sql("ALTER ROLE customerd_service SET track_functions = 'all'")
    service = bench.serve(5)
    streams = []
    try:
        def listen(count):
            for _ in range(count):
                stream = socket.create_connection(("127.0.0.1", service.port))
                streams.append(stream)
                stream.sendall(
                    b"GET /api/v0/events?after=%d HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n"
                    b"x-client-key: %s\r\nx-client-secret: %s\r\n\r\n"
                    % (place, bench.key["client_key"].encode(), bench.key["client_secret"].encode())
                )
                # The greeting: the stream listens.
                while b":\n\n" not in stream.recv(4096):
                    pass

        place = int(bench.cluster.sql(f"SELECT seq FROM audit.heads WHERE app_id = '{APP}'"))
        listen(LISTENERS_BEFORE)
        time.sleep(2)
        before = resident(service)
        listen(bench.options.listeners)
        time.sleep(2)
        after = resident(service)
        cpu, start = cpu_seconds(service.process.pid), time.monotonic()
        time.sleep(bench.options.seconds * 2)
        cpu, seconds = cpu_seconds(service.process.pid) - cpu, time.monotonic() - start
        # The sessions report their counts when they are idle, within a second, or when they end.
        bench.cluster.sql("SELECT pg_stat_reset()")
        time.sleep(bench.options.seconds * 5)
        period = bench.options.seconds * 5
    finally:
        for stream in streams:
            stream.close()
        service.stop()
        bench.cluster.sql("ALTER ROLE customerd_service RESET track_functions")
    looks = int(bench.cluster.sql("SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'listening'"))
    pages = int(bench.cluster.sql("SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = 'events'"))
    return {
        "listeners": bench.options.listeners, "kib_each": (after - before) / 1024 / bench.options.listeners,
        "look_ups_per_second": looks / period, "pages_per_second": pages / period, "cpu": cpu / seconds,
    }  # fmt: skip


def resident(service):
    """Bytes."""
    with open(f"/proc/{service.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def show(results):
    delivered, deletions, idle = results["delivery"], results["beside"], results["listeners"]
    ratios = [f"{ratio:.3f}" for ratio in deletions["ratios"]]
    print()
    print(
        report.table(
            ["events", "measured"],
            [
                ["events to a fast receiver, a second", f"{delivered['per_second']:,.0f}"],
                ["CPU of the service for one, ms", f"{delivered['service_cpu_ms']:.3f}"],
                ["CPU of the receiver for one, ms", f"{delivered['receiver_cpu_ms']:.3f}"],
                ["deletions with a webhook, of those without", f"{deletions['ratio']:.3f} ({', '.join(ratios)})"],
                ["an idle listener, KiB", f"{idle['kib_each']:.1f}"],
                ["look-ups a second for all of them", f"{idle['look_ups_per_second']:.2f}"],
                ["pages a second", f"{idle['pages_per_second']:.2f}"],
                ["CPU of the service meanwhile", f"{idle['cpu'] * 100:.1f} %"],
            ],
        )
    )
