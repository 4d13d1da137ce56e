"""Deliveries of webhooks, verified by others; Tests/System/webhooks runs this."""

import http.server
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import standardwebhooks
from setting import App

CLIENTS = pathlib.Path(__file__).parents[2] / "clients"


class Receiver:
    """Keeps every delivery."""

    def __init__(self):
        deliveries = self.deliveries = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                deliveries.append((body, dict(self.headers)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def eventually(condition, within=30):
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it never happened")
        time.sleep(0.05)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class WebhookTests(unittest.TestCase):
    def setUp(self):
        self.app = App()

    def make(self, port):
        answer = self.app.office.request("POST", "/api/v0/webhooks", {"url": f"http://127.0.0.1:{port}/"})
        self.assertEqual(answer.status, 201, answer.body)
        webhook = json.loads(answer.body)
        return webhook["id"], webhook["secret"]

    def deliveries(self, webhook):
        answer = self.app.office.request("GET", f"/api/v0/webhooks/{webhook}/deliveries")
        return sum(one["status_code"] == 204 for one in json.loads(answer.body)["data"])

    def test_the_official_package_verifies_every_delivery(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        webhook, old = self.make(receiver.port)
        for _ in range(3):
            self.app.office.delete(self.app.customer())
        eventually(lambda: len(receiver.deliveries) == 3)
        answer = self.app.office.request("POST", f"/api/v0/webhooks/{webhook}/rotate-secret", {"overlap_seconds": 60})
        new = json.loads(answer.body)["secret"]
        self.app.office.delete(self.app.customer())
        eventually(lambda: len(receiver.deliveries) == 4)
        self.app.office.request("POST", f"/api/v0/webhooks/{webhook}/ping")
        self.assertEqual(len(receiver.deliveries), 5)

        for position, (body, headers) in enumerate(receiver.deliveries):
            headers = {name.lower(): value for name, value in headers.items()}
            for secret, fits in ((old, True), (new, position >= 3)):
                verifier = standardwebhooks.Webhook(secret)
                if fits:
                    event = verifier.verify(body, headers)
                    self.assertEqual(event["id"], headers["webhook-id"])
                else:
                    self.assertRaises(standardwebhooks.webhooks.WebhookVerificationError, verifier.verify, body, headers)
            self.assertRaises(
                standardwebhooks.webhooks.WebhookVerificationError,
                standardwebhooks.Webhook(old).verify, body.replace(b"customer", b"Customer"), headers)

    def receive(self, command):
        """Delivers two events to one of the receivers in clients/, and one that is forged."""
        port = free_port()
        # The port must be known before the secret is, which the receiver is started with.
        webhook, secret = self.make(port)
        process = subprocess.Popen(
            [*command, str(port)], env={**os.environ, "WEBHOOK_SECRET": secret}, stdout=subprocess.PIPE,
            text=True)
        # Read beside, so that a line that never comes is a failure in time.
        lines = queue.SimpleQueue()

        def read():
            with process.stdout:
                for line in process.stdout:
                    lines.put(line)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            def is_up():
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            eventually(is_up)
            customers = [self.app.customer() for _ in range(2)]
            for customer in customers:
                self.app.office.delete(customer)
            for customer in customers:
                self.assertEqual(lines.get(timeout=30), f"remove {customer} from the search index\n")
            # Once more, with the same ids: nothing is done twice.
            eventually(lambda: self.deliveries(webhook) == 2)
            answer = self.app.office.request("POST", f"/api/v0/webhooks/{webhook}/replay", {"after": 0})
            self.assertEqual(answer.status, 200, answer.body)
            eventually(lambda: self.deliveries(webhook) == 4)
            forged = subprocess.run(
                ["curl", "-s", "--max-time", "30", "-o", os.devnull, "-w", "%{http_code}", "-d", '{"type":"customer.deleted","id":"x"}',
                 "-H", "webhook-id: x", "-H", f"webhook-timestamp: {int(time.time())}",
                 "-H", "webhook-signature: v1,AAAA", f"http://127.0.0.1:{port}/"],
                check=True, capture_output=True, text=True)
            self.assertEqual(forged.stdout, "401")
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        reader.join(timeout=10)
        self.assertTrue(lines.empty(), "it did something twice")

    def test_the_receiver_in_python(self):
        self.receive([sys.executable, CLIENTS / "python" / "receive_webhooks.py"])

    def test_the_receiver_in_typescript(self):
        if not shutil.which("node") or not shutil.which("tsc"):
            self.skipTest("there is no node, or no tsc")
        with tempfile.TemporaryDirectory() as built:
            subprocess.run(["tsc", "-p", CLIENTS / "typescript", "--outDir", built], check=True)
            self.receive(["node", f"{built}/receive-webhooks.mjs"])

    def test_the_receiver_in_swift(self):
        program = pathlib.Path(os.environ["SERVICE_CUSTOMERD"]).with_name("receive-webhooks")
        if not program.exists():
            self.skipTest("receive-webhooks isn't built")
        self.receive([program])


if __name__ == "__main__":
    unittest.main()
