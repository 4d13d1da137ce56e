#!/usr/bin/env python3
"""Receives webhooks: verifies each, skips repetitions, and answers only when it is done. See docs/webhooks.md.

usage: WEBHOOK_SECRET=whsec_… receive_webhooks.py PORT

Needs nothing but the standard library. The package standardwebhooks of PyPI has the same verification.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import sys
import time

TOLERANCE = 5 * 60  # seconds that the sender's clock may differ, and a captured delivery stays good
LARGEST_BODY = 64 * 1024


def verified(secret, headers, body, now=None):
    """The event, if the delivery was signed with the secret; else ValueError."""
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs((now or time.time()) - int(timestamp)) > TOLERANCE:
        raise ValueError("the timestamp is missing, too old or too new")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(signed).decode()
    # Two of them while a rotation overlaps. compare_digest takes the same time wherever the two differ.
    if not any(hmac.compare_digest(one, expected) for one in headers.get("webhook-signature", "").split()):
        raise ValueError("no signature fits")
    return json.loads(body)


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # In a database, with a unique key, in the transaction that does the work. Here: as long as the process lives.
    seen = set()

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > LARGEST_BODY:
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            event = verified(os.environ["WEBHOOK_SECRET"], self.headers, body)
        except ValueError as error:
            print(f"refused: {error}", file=sys.stderr)
            return self.answer(401)
        # The same event may come twice, with the same id.
        if event["id"] not in self.seen:
            self.carry_out(event)
            self.seen.add(event["id"])
        return self.answer(204)

    def carry_out(self, event):
        """What is to be done. An exception is a 500, and the event comes again."""
        if event["type"] == "customer.deleted":
            print(f"remove {event['customer_id']} from the search index", flush=True)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    if len(sys.argv) != 2 or "WEBHOOK_SECRET" not in os.environ:
        sys.exit(__doc__)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
