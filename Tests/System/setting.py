"""What the tests of this folder stand on: apps, keys, customers, requests, and a look into the database."""

import email.message
import json
import os
import secrets
import subprocess
import typing
import urllib.error
import urllib.request
import uuid

URL = os.environ["SERVICE_URL"]


def sql(statement):
    """Runs SQL as a superuser, and returns what it prints."""
    command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", os.environ["SERVICE_PSQL_URL"]]
    return subprocess.run(command, input=statement, check=True, capture_output=True, text=True).stdout.strip()


class Answer(typing.NamedTuple):
    status: int
    body: str
    headers: email.message.Message


class Key:
    """An API key as `customerd keys create` makes it, but without its entry: the chains of these tests begin with attempts."""

    def __init__(self, app, role, name):
        self.app, self.name = app, name
        self.client_key, self.secret = "ck_" + secrets.token_urlsafe(24), "cs_" + secrets.token_urlsafe(32)
        sql(
            "INSERT INTO service.api_keys (app_id, client_key, secret_digest, name, role) "
            f"VALUES ('{app}', '{self.client_key}', sha256('{self.secret}'), '{name}', '{role}')"
        )

    def request(self, method, path, body=None, **headers):
        """Asks, with a body in JSON if there is one."""
        all_headers = {"x-client-key": self.client_key, "x-client-secret": self.secret, **headers}
        data = None if body is None else json.dumps(body).encode()
        if data:
            all_headers["content-type"] = "application/json"
        request = urllib.request.Request(URL + path, data, method=method, headers=all_headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.read().decode(), response.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), error.headers)

    def delete(self, customer, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("DELETE", f"/api/v0/customers/{customer}", **{"idempotency-key": str(uuid.uuid4()), **headers})


class App:
    """An app of its own with two keys: of the back office, and of its auditor."""

    def __init__(self):
        self.id = str(uuid.uuid4())
        self.office = Key(self.id, "admin", "back office")
        self.auditor = Key(self.id, "auditor", "revision")

    def customer(self, first="John", last="Doe", spent="9999999999999999.90", invoice=False):
        customer = str(uuid.uuid4())
        sql(
            "INSERT INTO customers (app_id, id, first_name, last_name, email, phone_number, last_spent) "
            f"VALUES ('{self.id}', '{customer}', '{first}', '{last}', '{last.lower()}@example.com', '+1234567890', {spent})"
        )
        if invoice:
            sql(f"INSERT INTO invoices (app_id, customer_id) VALUES ('{self.id}', '{customer}')")
        return customer

    def outcomes(self, customer):
        """How the attempts on a customer ended, in the order of the trail."""
        return sql(
            f"SELECT outcome FROM audit.entries WHERE app_id = '{self.id}' AND customer_id = '{customer}' ORDER BY seq").split()

    def entry(self, customer):
        """seq and id of the only entry about a customer."""
        seq, entry = sql(
            f"SELECT seq, id FROM audit.entries WHERE app_id = '{self.id}' AND customer_id = '{customer}'").split("|")
        return int(seq), entry

    def tamper(self, change):
        """Does to the trail what only a superuser can."""
        sql(f"BEGIN; ALTER TABLE audit.entries DISABLE TRIGGER USER; {change}; "
            "ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed; "
            "ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_truncated; COMMIT")
