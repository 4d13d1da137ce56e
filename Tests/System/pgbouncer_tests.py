"""The service through PgBouncer in transaction mode; Tests/System/pgbouncer runs this."""

import concurrent.futures
import json
import os
import subprocess
import unittest
import uuid

from setting import App, sql


def post(key, path, body=None, method="POST"):
    return key.request(method, f"/api/v0/customers{path}", body, **{"idempotency-key": str(uuid.uuid4())})


class PgBouncerTests(unittest.TestCase):
    def tearDown(self):
        verified = subprocess.run([os.environ["SERVICE_CUSTOMERD"], "audit", "verify"], capture_output=True, text=True)
        self.assertEqual(verified.returncode, 0, verified.stdout)

    def test_every_kind_of_request(self):
        app = App()
        person = {"first_name": "Ada", "last_name": "Lovelace", "phone_number": "+1", "email": "ada@example.com"}
        made = post(app.office, "", person)
        customer = json.loads(made.body)["id"]
        others = [app.customer() for _ in range(3)]

        answers = [
            made,
            app.office.request("GET", f"/api/v0/customers/{customer}"),
            app.office.request("GET", "/api/v0/customers?name=love"),
            post(app.office, f"/{customer}", {"last_name": "King"}, "PATCH"),
            post(app.office, f"/{customer}/archive"),
            post(app.office, f"/{customer}/unarchive"),
            app.office.request("GET", f"/api/v0/customers/{customer}/deletion-check"),
            app.office.request("GET", f"/api/v0/customers/{customer}/export"),
            post(app.office, "/bulk-delete", {"ids": others}),
            app.office.delete(customer),
            post(app.office, f"/{customer}/redact"),
            app.auditor.request("GET", "/api/v0/audit?limit=100&proof=true"),
        ]

        self.assertEqual([answer.status for answer in answers], [201] + [200] * 11, answers)
        self.assertEqual(sql(f"SELECT count(*) FROM customers WHERE app_id = '{app.id}'"), "0")

    def test_many_at_once_have_each_their_own_answer(self):
        apps = [App() for _ in range(4)]
        customers = [(app, app.customer(f"Name {number}", invoice=number % 5 == 0), number)
                     for app in apps for number in range(12)]

        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda each: each[0].office.delete(each[1]), customers))

        for (app, customer, number), answer in zip(customers, answers):
            if number % 5 == 0:
                self.assertEqual(answer.status, 400, answer)
                self.assertEqual(app.outcomes(customer), ["REFUSED"])
            else:
                self.assertEqual(answer.status, 200, answer)
                self.assertIn(f'"first_name":"Name {number}"', answer.body)
                self.assertEqual(app.outcomes(customer), ["SUCCEEDED"])

    def test_one_key_at_once_deletes_once(self):
        app = App()
        customer, key = app.customer(), str(uuid.uuid4())

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: app.office.delete(customer, idempotency_key=key), range(8)))

        self.assertLessEqual({answer.status for answer in answers}, {200, 409})
        self.assertEqual(app.outcomes(customer).count("SUCCEEDED"), 1)
