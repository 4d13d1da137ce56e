"""Makes the pictures of docs/console; Tests/System/console --screenshots DIRECTORY runs this."""

import datetime
import json
import os
import random
import sys
import time
import uuid

from PIL import Image

from chromium import Browser
from setting import URL, App, sql

# The outcomes of a plausible day, and how often each.
DAY = {
    "SUCCEEDED": (200, 30), "REPLAYED": (200, 4), "REFUSED": (400, 9), "NOT_FOUND": (404, 5), "INVALID": (400, 2),
    "FORBIDDEN": (403, 2), "RATE_LIMITED": (429, 1), "INTERRUPTED": (None, 1),
}
NAMES = [("Ada", "Lovelace"), ("Grace", "Hopper"), ("Alan", "Turing"), ("Emmy", "Noether"), ("Edsger", "Dijkstra"),
         ("Barbara", "Liskov"), ("Tony", "Hoare"), ("Mary", "Shaw")]


def entry(app, key, time, outcome, chance):
    """An attempt of earlier that day, as the service would have handed it to the trail."""
    status, _ = DAY[outcome]
    customer = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    first, last = chance.choice(NAMES)
    made = {
        "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "app_id": app.id, "is_attempt": False,
        "occurred_at": time.isoformat(), "action": "customer.delete", "outcome": outcome, "status_code": status,
        "customer_id": customer, "actor_key_id": key, "actor_client_key": app.office.client_key,
        "actor_name": app.office.name, "actor_role": "admin", "actor_claimed": chance.choice(["bob@example.com", None]),
        "reason": None, "ip": "192.0.2.17", "user_agent": "back-office/3.1", "request_id": str(uuid.uuid4()),
        "idempotency_key": str(uuid.uuid4()),
        "request": {"method": "DELETE", "path": f"/api/v0/customers/{customer}", "query": None, "headers": {"host": "crm.example"}},
    }
    if outcome in ("SUCCEEDED", "REFUSED"):
        made["before_image"] = {"id": customer, "first_name": first, "last_name": last}
    if outcome == "REFUSED":
        made |= {"error_code": "P2003", "sqlstate": "23503", "constraint_name": "invoices_belong_to_a_customer",
                 "referencing_table": "invoices", "error_message": "Customer cannot be deleted."}
    return made


def fill(app):
    chance = random.Random(8)
    now = datetime.datetime.now(datetime.timezone.utc)
    key = sql(f"SELECT id FROM service.api_keys WHERE client_key = '{app.office.client_key}'")
    outcomes = [outcome for outcome, (_, weight) in DAY.items() for _ in range(weight)]
    times = sorted(now - datetime.timedelta(hours=23.5 * chance.random() ** 0.8) for _ in range(140))
    entries = [entry(app, key, time, chance.choice(outcomes), chance) for time in times]
    text = json.dumps(entries).replace("'", "''")
    sql(f"SELECT count(*) FROM service.append('{app.id}', '{text}')")
    app.office.delete(app.customer("Barbara", "Liskov", "1024.50", invoice=True), x_actor_id="eve@example.com")
    app.office.delete(app.customer("Margaret", "Hamilton", "250.75"), x_actor_id="bob@example.com",
                      x_audit_reason="Asked to be forgotten, ticket 4711")


def furnish(app):
    """A customer with a past, and others: the one in the pictures."""
    ada = app.customer("Ada", "Lovelace", "1024.50", invoice=True)
    sql(f"UPDATE customers SET phone_number = '+44 20 7946 0018', last_purchase_date = now() - interval '40 days' WHERE id = '{ada}'")
    sql(f"INSERT INTO transactions (app_id, customer_id) VALUES ('{app.id}', '{ada}'), ('{app.id}', '{ada}')")
    headers = {"idempotency-key": str(uuid.uuid4()), "x-actor-id": "bob@example.com", "x-audit-reason": "Chargebacks, ticket 4652"}
    app.office.request("PATCH", f"/api/v0/customers/{ada}/status", {"status": "DEACTIVATED"}, **headers)
    app.office.delete(ada, x_actor_id="eve@example.com", x_audit_reason="Asked to be forgotten, ticket 4711")
    app.office.request("PUT", f"/api/v0/customers/{ada}/hold", {"reason": "Tax audit until spring"},
                       **{"idempotency-key": str(uuid.uuid4()), "x-actor-id": "eve@example.com"})
    return ada, app.customer("Katherine", "Johnson", "250.75")


def main(directory):
    os.makedirs(directory, exist_ok=True)
    app = App()
    fill(app)
    ada, katherine = furnish(app)
    browser = Browser(os.environ["CONSOLE_CHROMIUM"])

    def shoot(name, key, path, steps, **options):
        page = browser.page(f"{URL}/console#{path}", **options)
        page.wait("document.activeElement?.id === 'client-key'")
        page.fill("#client-key", key.client_key)
        page.fill("#client-secret", key.secret)
        page.fill("#actor-name", "eve@example.com")
        page.press("Enter")
        steps(page)
        picture = f"{directory}/{name}.png"
        page.screenshot(picture)
        page.close()
        # A repository keeps every picture for ever: with few colors it is a third of the size.
        with Image.open(picture) as image:
            few = image.convert("RGB").quantize(96, dither=Image.Dither.NONE)
        few.save(picture, optimize=True)

    def customer(page):
        page.wait("document.querySelectorAll('#page .entries li').length === 3")
        page.evaluate("scrollTo(0, 0)")

    def deletion(page):
        page.click("#act-delete")
        page.wait("document.querySelector('dialog.sheet .decision')?.checkVisibility()")
        page.fill("#field-reason", "Asked to be forgotten, ticket 4711")
        page.fill("#field-typed", "Katherine John")

    def bulk(page):
        free = [app.customer("Mary", f"Shaw {number}") for number in range(40)]
        page.fill("#list", "\n".join([*free, ada, str(uuid.uuid4())]))
        page.click("#dry-run")
        page.click("#decide")
        page.wait_text("#bulk-results", "Delete 40 customers")

    def runs(page):
        free = [app.customer("Mary", f"Shaw {number}") for number in range(25)]
        for dry in (True, False):
            made = app.office.request("POST", "/api/v0/bulk-deletions", {"ids": [*free, ada], "dry_run": dry},
                                      **{"idempotency-key": str(uuid.uuid4())})
            run = json.loads(made.body)["id"]
            while json.loads(app.office.request("GET", f"/api/v0/bulk-deletions/{run}").body)["status"] == "RUNNING":
                time.sleep(0.2)
        page.evaluate("location.hash = '#/bulk'")
        page.wait_text("#bulk-runs", "25 deleted")

    def trail(page):
        page.wait("document.querySelectorAll('#entries li').length === 50")
        page.click("#chart-load")
        page.wait("document.querySelector('#chart-load').hidden")
        page.evaluate("scrollTo(0, 0)")
        page.press("v")
        page.wait_text("#verify-result", "The chain is intact")

    def entry(page):
        page.wait("document.querySelectorAll('#entries li').length === 50")
        page.press("j")
        page.press("Enter")
        page.wait_text("#entry-body", "the hash is that of the columns")

    try:
        shoot("desk", app.office, f"/customers/{ada}", customer, width=1200, height=1000)
        shoot("phone", app.office, f"/customers/{ada}", customer, width=390, height=1200)
        shoot("deletion", app.office, f"/customers/{katherine}", deletion, width=1200, height=760, dark=True)
        shoot("trail", app.auditor, "/trail", trail, width=1200, height=900)
        shoot("entry", app.auditor, "/trail", entry, width=1200, height=900, dark=True)
        shoot("bulk", app.office, "/bulk", bulk, width=1200, height=640)
        shoot("runs", app.office, "/customers", runs, width=1200, height=860, dark=True)
    finally:
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
