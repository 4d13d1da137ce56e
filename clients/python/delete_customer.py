#!/usr/bin/env python3
"""Deletes a customer, trying again where that helps. See clients/README.md.

usage: CUSTOMERD_CLIENT_KEY=… CUSTOMERD_CLIENT_SECRET=… delete_customer.py CUSTOMER_ID [SECONDS [IDEMPOTENCY_KEY]]
"""

import dataclasses
import email.utils
import http.client
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str

    @property
    def is_final(self):
        return self.status not in (408, 409, 429) and self.status < 500

    def number(self, name):
        text = self.headers.get(name, "")
        return int(text) if text.isdecimal() else None

    @property
    def seconds_asked_for(self):
        """How long the service wants to be left alone."""
        seconds = self.number("Retry-After") or 0
        reset = self.number("X-RateLimit-Reset")
        if self.number("X-RateLimit-Remaining") == 0 and reset is not None:
            # By the service's clock, which may not be this machine's.
            date = self.headers.get("Date")
            now = email.utils.parsedate_to_datetime(date).timestamp() if date else time.time()
            seconds = max(seconds, reset - now)
        return seconds


class GaveUp(Exception):
    """There was no final answer in time. Whether the customer is deleted isn't known."""


class Customers:
    def __init__(self, url, client_key, client_secret):
        self.url = url.rstrip("/")
        self.headers = {"x-client-key": client_key, "x-client-secret": client_secret}

    def delete(self, customer, idempotency_key, seconds, log=lambda sentence: None):
        """The final answer to a deletion, whatever it took.

        Raises GaveUp when there is none within so many seconds; call it again with the same key then.
        """
        deadline = time.monotonic() + seconds
        tries = 0
        while True:
            try:
                answer = self._try(customer, idempotency_key, min(15, deadline - time.monotonic()))
            except (OSError, http.client.HTTPException) as error:
                answer, why = None, f"there was no answer ({error or type(error).__name__})"
            else:
                if answer.is_final:
                    return answer
                why = f"the service answered {answer.status}"
            jitter = random.uniform(0, min(10, 0.2 * 2**tries))
            wait = (answer.seconds_asked_for if answer else 0) + jitter
            if time.monotonic() + wait >= deadline:
                raise GaveUp(why)
            log(f"{why}; trying again in {wait:.3f} s")
            time.sleep(wait)
            tries += 1

    def _try(self, customer, idempotency_key, timeout):
        request = urllib.request.Request(
            f"{self.url}/api/v0/customers/{urllib.parse.quote(customer, safe='')}",
            method="DELETE",
            headers={**self.headers, "idempotency-key": idempotency_key},
        )
        try:
            response = urllib.request.urlopen(request, timeout=max(0.1, timeout))
        except urllib.error.HTTPError as error:
            response = error
        with response:
            return Answer(response.status, response.headers, response.read().decode())


def main(arguments):
    key, secret = (os.environ.get(f"CUSTOMERD_CLIENT_{name}") for name in ("KEY", "SECRET"))
    if not 1 <= len(arguments) <= 3 or not key or not secret:
        print(__doc__, file=sys.stderr)
        return 2
    customer = arguments[0]
    seconds = float(arguments[1]) if len(arguments) > 1 else 60
    idempotency_key = arguments[2] if len(arguments) > 2 else str(uuid.uuid4())

    customers = Customers(os.environ.get("CUSTOMERD_URL", "http://127.0.0.1:8080"), key, secret)
    try:
        answer = customers.delete(
            customer, idempotency_key, seconds, log=lambda sentence: print(f"delete_customer: {sentence}", file=sys.stderr)
        )
    except GaveUp as error:
        sentence = f"delete_customer: gave up, {error}; try again with the idempotency key {idempotency_key}"
        print(sentence, file=sys.stderr)
        return 75
    print(answer.body)
    return 0 if answer.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
