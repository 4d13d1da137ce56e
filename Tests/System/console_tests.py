"""The auditor's page in headless Chromium; Tests/System/console runs this."""

import json
import os
import unittest
import uuid

from chromium import Browser
from setting import URL, App, Key


class ConsoleTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(os.environ["CONSOLE_CHROMIUM"])
        cls.addClassCleanup(cls.browser.close)

    def open(self, path="/console", **options):
        """A page that must stay without an error, a violation of its policy, a foreign request or a secret in a URL."""
        page = self.browser.page(URL + path, **options)
        page.expected = []
        self.addCleanup(page.close)
        self.addCleanup(self.check, page)
        return page

    def check(self, page):
        # A refusal is logged by the browser itself, whatever the page makes of it.
        unexpected = [error for error in page.errors if not any(part in error for part in page.expected)]
        self.assertEqual(unexpected, [])
        page.requests.append(page.evaluate("location.href"))
        for url in page.requests:
            # Chromium draws the buttons of a date field that way.
            self.assertTrue(url.startswith((URL + "/", "data:image/svg+xml;")), url)
            self.assertNotIn("cs_", url)

    def sign_in(self, key, path="/console", **options):
        page = self.open(path, **options)
        self.enter(page, key)
        page.wait("!document.querySelector('#trail').hidden && document.querySelector('#state').innerText.includes('loaded')")
        return page

    def enter(self, page, key, secret=None):
        page.wait("document.activeElement?.id === 'client-key'")
        page.fill("#client-key", key.client_key)
        page.fill("#client-secret", secret or key.secret)
        page.press("Enter")

    def rows(self, page):
        return page.evaluate("[...document.querySelectorAll('#entries .badge')].map((badge) => badge.innerText)")

    def wait_rows(self, page, rows):
        page.wait(
            "JSON.stringify([...document.querySelectorAll('#entries .badge')].map((badge) => badge.innerText)) === "
            + json.dumps(json.dumps(rows, separators=(",", ":")))
        )

    def assert_fits(self, page):
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter((element) => !element.closest('.scroll, .sr, svg')"
            " && element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
            ".map((element) => element.outerHTML.slice(0, 120))"
        )
        self.assertEqual(wide, [])
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), page.evaluate("innerWidth"))

    # --- signing in ---------------------------------------------------------------------------------------------------

    def test_a_wrong_secret_and_a_key_without_audit_read_are_told_apart(self):
        app = App()
        viewer = Key(app.id, "viewer", "front desk")
        page = self.open()
        page.expected = ["401", "403"]

        self.enter(page, app.auditor, secret="cs_wrong")
        page.wait_text("#login-error", "Invalid API credentials")
        self.enter(page, viewer)
        page.wait_text("#login-error", "Insufficient permissions: the key needs audit:read")
        self.enter(page, app.auditor)

        page.wait("!document.querySelector('#trail').hidden")
        page.wait_text("#empty", "No attempt matches.")

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

    # --- watching -----------------------------------------------------------------------------------------------------

    def test_attempts_appear_as_they_happen(self):
        app = App()
        page = self.sign_in(app.auditor)
        self.assertEqual(self.rows(page), [])

        app.office.delete(app.customer("Ada", "Lovelace"), x_actor_id="bob@example.com")
        self.wait_rows(page, ["SUCCEEDED"])
        app.office.delete(app.customer("Alan", "Turing", invoice=True))
        self.wait_rows(page, ["REFUSED", "SUCCEEDED"])

        self.assertIn("Ada Lovelace", page.text("#entries li:last-child"))
        self.assertIn("back office for bob@example.com", page.text("#entries li:last-child"))
        self.assertIn("Succeeded 1, Refused 1", page.evaluate("document.querySelector('#chart svg').ariaLabel"))
        page.wait_text("#announcer", "New attempt: REFUSED, customer.delete")

    def test_no_value_becomes_markup(self):
        app = App()
        app.office.delete(app.customer('<img src="x" onerror="1">', "<b>"), x_audit_reason="<script>1</script>")
        page = self.sign_in(app.auditor)

        page.press("j")
        page.press("Enter")

        page.wait_text("#entry-body", "<script>1</script>")
        self.assertIn('<img src="x" onerror="1"> <b>', page.text("#entries li"))

    def test_no_character_acts_or_hides(self):
        app = App()
        app.office.delete(app.customer("A\u202eda", "Love\u200blace"))
        page = self.sign_in(app.auditor)

        self.wait_rows(page, ["SUCCEEDED"])
        self.assertIn("AU+202Eda LoveU+200Blace", page.text("#entries li"))
        self.assertEqual(page.evaluate("document.querySelector('#entries .customer').firstChild.tagName"), "BDI")
        page.press("j")
        page.press("Enter")
        page.wait_text("#entry-body", "AU+202Eda")

    def test_it_waits_for_the_rate_limit_of_its_key(self):
        app = App()
        app.office.delete(app.customer())
        page = self.sign_in(app.auditor)
        page.expected = ["429"]
        while app.auditor.request("GET", "/api/v0/audit?limit=1")[0] != 429:
            pass

        app.office.delete(app.customer())

        page.wait("/trying again in \\d+ s|going on in \\d+ s/.test(document.querySelector('#state').innerText)")
        self.assertEqual(self.rows(page), ["SUCCEEDED"])

    # --- asking -------------------------------------------------------------------------------------------------------

    def test_filters_are_in_the_address_and_the_address_filters(self):
        app = App()
        kept = app.customer(invoice=True)
        app.office.delete(kept)
        app.office.delete(str(uuid.uuid4()))
        app.office.delete(app.customer())
        page = self.sign_in(app.auditor)
        self.wait_rows(page, ["SUCCEEDED", "NOT_FOUND", "REFUSED"])

        page.press("/")
        page.wait("document.activeElement.id === 'outcome'")
        page.evaluate("document.querySelector('#outcome').value = 'NOT_FOUND'")
        page.click("#filter-form button[type=submit]")
        self.wait_rows(page, ["NOT_FOUND"])
        self.assertIn("outcome=NOT_FOUND", page.evaluate("location.hash"))
        page.click("#filter-form button[type=reset]")
        self.wait_rows(page, ["SUCCEEDED", "NOT_FOUND", "REFUSED"])

        page.fill("#customer", kept.upper())
        page.click("#filter-form button[type=submit]")
        self.wait_rows(page, ["REFUSED"])
        page.evaluate("location.hash = '#actor=nobody'")
        page.wait_text("#empty", "No attempt matches.")
        self.assertEqual(page.evaluate("document.querySelector('#actor').value"), "nobody")

    def test_an_hour_of_the_chart_filters_by_time(self):
        app = App()
        app.office.delete(app.customer())
        page = self.sign_in(app.auditor)
        self.wait_rows(page, ["SUCCEEDED"])

        page.click(".table summary")
        page.click("#chart-table tr:nth-child(3) button")

        page.wait_text("#empty", "No attempt matches.")
        self.assertTrue(page.evaluate("/from=.*&to=/.test(location.hash)"))

    def test_older_attempts_come_page_by_page(self):
        app = App()
        for _ in range(60):
            app.office.delete(str(uuid.uuid4()))
        page = self.sign_in(app.auditor)
        page.wait("document.querySelectorAll('#entries li').length === 50")

        page.click("#older")

        page.wait("document.querySelectorAll('#entries li').length === 60 && document.querySelector('#older').hidden")
        self.assertEqual(page.text("#entries li:last-child .seq"), "1")
        page.wait("document.activeElement.closest('li') === document.querySelectorAll('#entries li')[50]")

    # --- one entry ----------------------------------------------------------------------------------------------------

    def test_an_entry_opens_by_keyboard_and_closes_to_its_row(self):
        app = App()
        app.office.delete(app.customer("Grace", "Hopper"), x_audit_reason="asked to be forgotten")
        app.office.delete(str(uuid.uuid4()))
        page = self.sign_in(app.auditor)
        self.wait_rows(page, ["NOT_FOUND", "SUCCEEDED"])

        page.press("j")
        page.press("j")
        page.press("Enter")
        page.wait_text("#entry-body", "the hash is that of the columns")
        shown = page.text("#entry")
        for part in ("Entry 1", "Grace", "9999999999999999.90", "asked to be forgotten", "DELETE", "the first of its chain"):
            self.assertIn(part, shown)

        page.press("k")
        page.wait_text("#entry-title", "Entry 2")
        page.wait_text("#entry-body", "follows entry 1")
        page.press("j")
        page.wait_text("#entry-title", "Entry 1")
        page.press("Escape")

        page.wait("!document.querySelector('#entry').open")
        page.wait("document.activeElement === document.querySelector('#entries li:last-child a')")
        # The event that says so comes later than what it says.
        page.wait("!location.href.includes('entry=')")

    def test_an_address_opens_an_entry_that_isnt_loaded(self):
        app = App()
        customer = app.customer()
        app.office.delete(customer)
        _, entry = app.entry(customer)

        page = self.sign_in(app.auditor, f"/console#outcome=REFUSED&entry={entry}")

        page.wait_text("#entry-title", "Entry 1")
        self.assertEqual(self.rows(page), [])

    # --- the chain ----------------------------------------------------------------------------------------------------

    def verify(self, page):
        page.press("v")
        page.wait("document.querySelector('#verify-result').innerText !== ''")
        return page.text("#verify-result")

    def busy_app(self):
        """An app with a trail of 120 entries, more than a page of them."""
        app = App()
        for _ in range(115):
            app.office.delete(str(uuid.uuid4()))
        app.office.delete(app.customer(invoice=True))
        app.office.delete(app.customer("Łukasz", "Żółć 𝄞"), x_actor_id="bob", x_audit_reason="why, \"really\"?")
        app.office.request("DELETE", "/api/v0/customers/1")
        redacted = app.customer()
        app.office.delete(redacted, x_audit_reason="to be erased")
        app.office.request("POST", f"/api/v0/customers/{redacted}/redact", **{"idempotency-key": str(uuid.uuid4())})
        return app

    def test_a_whole_chain_verifies_and_each_way_to_tamper_is_found(self):
        app = self.busy_app()
        page = self.sign_in(app.auditor)

        self.assertIn("The chain is intact: entries 1 to 120.", self.verify(page))
        page.click("#verify-close")
        self.assertIn("It extends the chain of 120 entries", self.verify(page))

        where = f"WHERE app_id = '{app.id}' AND seq ="
        for change, back, verdict in (
            ("outcome = 'SUCCEEDED'", "outcome = 'NOT_FOUND'", "its hash isn't that of its columns"),
            ("actor_name = 'nobody'", "actor_name = 'back office'", "its hash isn't that of its columns"),
            ("ip = '192.0.2.1'", "ip = '127.0.0.1'", "actor_claimed, ip, user_agent or request isn't what was committed to"),
            ("reason = 'because'", "reason = NULL", "before_image, reason or error_message isn't what was committed to"),
        ):
            with self.subTest(change):
                app.tamper(f"UPDATE audit.entries SET {change} {where} 7")
                self.assertIn(f"The chain is broken at entry 7: entry 7 was changed: {verdict}", self.verify(page))
                app.tamper(f"UPDATE audit.entries SET {back} {where} 7")
        self.assertIn("The chain is intact", self.verify(page))

        app.tamper(
            f"UPDATE audit.entries SET subject_salt = NULL, before_image = NULL, reason = NULL, error_message = NULL {where} 117")
        self.assertIn("broken at entry 117: entry 117 was erased, but no redaction accounts for it", self.verify(page))
        app.tamper(f"UPDATE audit.entries AS e SET hash = '\\x{'00' * 32}' {where} 9")
        self.assertIn("broken at entry 9: entry 9 was changed", self.verify(page))
        app.tamper(f"UPDATE audit.entries AS e SET hash = audit.hash(e) {where} 9")
        app.tamper(f"UPDATE audit.entries AS e SET outcome = 'INVALID' {where} 9")
        app.tamper(f"UPDATE audit.entries AS e SET hash = audit.hash(e) {where} 9")
        self.assertIn("broken at entry 10: the previous_hash of entry 10 isn't the hash of entry 9", self.verify(page))
        page.click("#verify-result a")
        page.wait_text("#entry-title", "Entry 10")
        page.press("Escape")

        app.tamper(f"DELETE FROM audit.entries {where} 8")
        self.assertIn("broken at entry 8: entry 8 is missing", self.verify(page))

    def test_a_cut_tail_contradicts_what_this_browser_verified(self):
        app = App()
        for _ in range(5):
            app.office.delete(str(uuid.uuid4()))
        page = self.sign_in(app.auditor)
        self.assertIn("The chain is intact: entries 1 to 5.", self.verify(page))

        app.tamper(f"DELETE FROM audit.entries WHERE app_id = '{app.id}' AND seq > 3")

        self.assertIn("broken at entry 4: the chain was cut: it had 5 entries", self.verify(page))
        page.click("#verify-result button")
        self.assertIn("The chain is intact: entries 1 to 3.", self.verify(page))

    # --- a phone ------------------------------------------------------------------------------------------------------

    def test_a_phone_shows_all_of_it_without_overflow(self):
        app = self.busy_app()
        page = self.open(width=390, height=844, scale=2, dark=True)
        self.assert_fits(page)
        self.enter(page, app.auditor)
        page.wait("document.querySelectorAll('#entries li').length === 50")
        self.assert_fits(page)
        page.click("#filters summary")
        self.assert_fits(page)
        page.click(".table summary")
        self.assert_fits(page)

        page.click("#verify-start")
        page.wait_text("#verify-result", "The chain is intact: entries 1 to 120.")
        self.assert_fits(page)

        page.click("#entries li:nth-child(4) a")
        page.wait_text("#entry-body", "why, \"really\"?")
        self.assert_fits(page)
        page.click("#entry-close")
        page.wait("!document.querySelector('#entry').open")

    def test_everything_that_can_be_pressed_has_a_name_and_a_place_in_the_order(self):
        app = App()
        app.office.delete(app.customer())
        page = self.sign_in(app.auditor)
        self.wait_rows(page, ["SUCCEEDED"])

        nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
        pressed = [node for node in nodes if node.get("role", {}).get("value") in ("button", "link", "textbox", "combobox")]
        nameless = [node for node in pressed if not node.get("name", {}).get("value")]
        self.assertGreater(len(pressed), 10)
        self.assertEqual(nameless, [])

        page.evaluate("document.querySelector('.skip').focus()")
        order = []
        for _ in range(12):
            page.press("Tab")
            order.append(page.evaluate("document.activeElement.id || document.activeElement.className || ''"))
            self.assertTrue(page.evaluate("document.activeElement.matches(':focus-visible')"), order)
        for earlier, later in (("live", "verify-start"), ("verify-start", "sign-out"), ("sign-out", "outcome")):
            self.assertLess(order.index(earlier), order.index(later), order)


if __name__ == "__main__":
    unittest.main()
