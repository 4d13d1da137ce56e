"""Signing in and out of the desk, and what each role sees there; Tests/System/console runs this."""

import uuid

from console_case import H1, ROLES, ConsoleCase, narrow_key, write
from setting import URL, App, Key, sql

MENU = {
    "viewer": ["Customers", "Scheduled deletions", "Bulk deletion"],
    "editor": ["Customers", "Scheduled deletions", "Bulk deletion"],
    "auditor": ["Audit trail"],
    "admin": ["Customers", "Scheduled deletions", "Bulk deletion", "Webhooks", "Audit trail"],
}
BUSINESS = ["blacklist", "deactivate"]
ALL = BUSINESS + ["archive", "hold", "schedule", "delete", "redact", "export"]


class SignInTests(ConsoleCase):
    def test_wrong_credentials_are_told(self):
        app = App()
        page = self.open()
        page.expected = ["401"]

        self.enter(page, app.auditor, secret="cs_wrong")
        page.wait_text("#login-error", "Invalid API credentials")
        self.enter(page, app.auditor)

        page.wait("!document.querySelector('#trail').hidden")
        page.wait_text("#empty", "No attempt matches.")
        self.assertIn("revision · auditor", page.text("#whose"))

    def test_credentials_outlive_a_reload_only_if_asked_to_and_never_signing_out(self):
        app = App()
        page = self.sign_in(app.auditor)
        self.assertEqual(page.evaluate("sessionStorage.length + localStorage.length"), 0)
        page.open(URL + "/console?again")
        page.wait("!document.querySelector('#login').hidden")

        page.fill("#client-key", app.auditor.client_key)
        page.fill("#client-secret", app.auditor.secret)
        page.click("#remember")
        page.click("#login-form button")
        page.wait("sessionStorage.length === 1")
        page.open(URL + "/console?once-more")
        page.wait("!document.querySelector('#trail').hidden")
        self.assertEqual(page.evaluate("localStorage.length"), 0)

        page.click("#sign-out")
        page.wait("!document.querySelector('#login').hidden && sessionStorage.length === 0")
        self.assertEqual(page.evaluate("document.querySelector('#client-secret').value"), "")

    def test_signing_out_forgets_what_was_shown_and_looked_for(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        app.customer("Alan", "Turing")
        page = self.sign_in(app.office, "/customers")
        page.wait_text("#found", "2 customers")
        page.fill("#search", "lovelace")
        page.press("Enter")
        page.wait_text("#found", "One customer")
        page.click(f"#customer-{customer}")
        page.wait_text(H1, "Ada Lovelace")

        page.click("#sign-out")

        page.wait("!document.querySelector('#login').hidden")
        self.assertNotIn("Ada", page.evaluate("document.documentElement.outerHTML"))
        self.enter(page, app.office)
        page.wait_text(H1, "Ada Lovelace")
        self.go(page, "/customers")
        page.wait("document.querySelector('#search')?.value === ''")

    def test_a_key_that_is_revoked_meanwhile_signs_out(self):
        app = App()
        viewer = Key(app.id, "viewer", "front desk")
        page = self.sign_in(viewer, "/customers")
        page.expected.append("401")

        sql(f"UPDATE service.api_keys SET revoked_at = now() WHERE client_key = '{viewer.client_key}'")
        page.click("#page form button[type=submit]")

        page.wait_text("#login-error", "Invalid API credentials")
        page.wait("document.activeElement.id === 'client-key'")

    def test_each_role_sees_its_pages_and_no_others(self):
        app = App()
        for role in ROLES:
            with self.subTest(role):
                page = self.sign_in(Key(app.id, role, role))
                menu = page.evaluate("[...document.querySelectorAll('#menu a')].map((anchor) => anchor.innerText)")
                self.assertEqual(menu, MENU[role])
                for path, title in (("/customers", "Customers"), ("/scheduled", "Scheduled deletions"), ("/bulk", "Bulk deletion"),
                                    ("/webhooks", "Webhooks"), ("/trail", "Audit trail")):
                    self.go(page, path)
                    page.wait_text(H1, title if title in MENU[role] else "Nothing here")

    def test_each_role_is_offered_what_it_may_do_to_a_customer(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        for role, offered in (("viewer", []), ("editor", BUSINESS), ("admin", ALL)):
            with self.subTest(role):
                page = self.customer_page(Key(app.id, role, role), customer)
                self.assertEqual(self.actions(page), offered)
                history = "[...document.querySelectorAll('#page h2')].some((heading) => heading.innerText === 'History')"
                self.assertEqual(page.evaluate(history), role == "admin")
        page = self.sign_in(app.auditor, f"/customers/{customer}")
        page.wait_text(H1, "Nothing here")

    def test_a_narrow_key_is_offered_what_is_left(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(narrow_key(app, "admin", "eraser", ["customers:read", "customers:delete"]), customer)

        self.assertEqual(self.actions(page), ["archive", "hold", "schedule", "delete", "redact"])
        self.assertEqual(page.evaluate("[...document.querySelectorAll('#menu a')].map((anchor) => anchor.innerText)"),
                         ["Customers", "Scheduled deletions", "Bulk deletion"])

    def test_the_state_of_a_customer_decides_what_is_offered(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        write(app.office, "PATCH", f"/api/v0/customers/{customer}/status", {"status": "BLACKLISTED"})
        write(app.office, "POST", f"/api/v0/customers/{customer}/archive")
        write(app.office, "PUT", f"/api/v0/customers/{customer}/hold", {"reason": "Lawsuit"})
        write(app.office, "PUT", f"/api/v0/customers/{customer}/scheduled-deletion", {"at": "2027-01-01T00:00:00Z"})

        page = self.customer_page(app.office, customer)
        self.assertEqual(self.actions(page), [
            "activate", "deactivate", "unarchive", "hold", "release", "schedule", "cancel-schedule", "delete", "redact", "export"])
        for part in ("BLACKLISTED", "ARCHIVED", "ON HOLD", "DELETION SCHEDULED"):
            self.assertIn(part, page.text("#page .badges"))

        gone = app.customer("Alan", "Turing")
        app.office.delete(gone)
        self.go(page, f"/customers/{gone}")
        page.wait_text("#page .badges", "DELETED")
        self.assertEqual(self.actions(page), ["redact", "restore", "export"])

        self.go(page, f"/customers/{uuid.uuid4()}")
        page.wait_text("#page .badges", "UNKNOWN")
        self.assertEqual(self.actions(page), [])
