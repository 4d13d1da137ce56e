"""The audit trail in the desk; Tests/System/console runs this."""

import json
import uuid

from console_case import ConsoleCase
from setting import App


class TrailTests(ConsoleCase):
    def trail(self, key, query="", **options):
        page = self.sign_in(key, f"/trail{query}", **options)
        page.wait("!document.querySelector('#trail').hidden && document.querySelector('#state').innerText.includes('loaded')")
        return page

    def rows(self, page):
        return page.evaluate("[...document.querySelectorAll('#entries .badge')].map((badge) => badge.innerText)")

    def wait_rows(self, page, rows):
        page.wait(
            "JSON.stringify([...document.querySelectorAll('#entries .badge')].map((badge) => badge.innerText)) === "
            + json.dumps(json.dumps(rows, separators=(",", ":")))
        )

    # --- watching -----------------------------------------------------------------------------------------------------

    def test_attempts_appear_as_they_happen(self):
        app = App()
        page = self.trail(app.auditor)
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
        page = self.trail(app.auditor)

        page.press("j")
        page.press("Enter")

        page.wait_text("#entry-body", "<script>1</script>")
        self.assertIn('<img src="x" onerror="1"> <b>', page.text("#entries li"))

    def test_no_character_acts_or_hides(self):
        app = App()
        app.office.delete(app.customer("A\u202eda", "Love\u200blace"))
        page = self.trail(app.auditor)

        self.wait_rows(page, ["SUCCEEDED"])
        self.assertIn("AU+202Eda LoveU+200Blace", page.text("#entries li"))
        self.assertEqual(page.evaluate("document.querySelector('#entries .customer').firstChild.tagName"), "BDI")
        page.press("j")
        page.press("Enter")
        page.wait_text("#entry-body", "AU+202Eda")

    def test_it_waits_for_the_rate_limit_of_its_key(self):
        app = App()
        app.office.delete(app.customer())
        page = self.trail(app.auditor)
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
        page = self.trail(app.auditor)
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
        page.evaluate("location.hash = '#/trail?actor=nobody'")
        page.wait_text("#empty", "No attempt matches.")
        self.assertEqual(page.evaluate("document.querySelector('#actor').value"), "nobody")

    def test_an_hour_of_the_chart_filters_by_time(self):
        app = App()
        app.office.delete(app.customer())
        page = self.trail(app.auditor)
        self.wait_rows(page, ["SUCCEEDED"])

        page.click(".table summary")
        page.click("#chart-table tr:nth-child(3) button")

        page.wait_text("#empty", "No attempt matches.")
        self.assertTrue(page.evaluate("/from=.*&to=/.test(location.hash)"))

    def test_older_attempts_come_page_by_page(self):
        app = App()
        for _ in range(60):
            app.office.delete(str(uuid.uuid4()))
        page = self.trail(app.auditor)
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
        page = self.trail(app.auditor)
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

        page = self.trail(app.auditor, f"?outcome=REFUSED&entry={entry}")

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
        page = self.trail(app.auditor)

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
        page = self.trail(app.auditor)
        self.assertIn("The chain is intact: entries 1 to 5.", self.verify(page))

        app.tamper(f"DELETE FROM audit.entries WHERE app_id = '{app.id}' AND seq > 3")

        self.assertIn("broken at entry 4: the chain was cut: it had 5 entries", self.verify(page))
        page.click("#verify-result button")
        self.assertIn("The chain is intact: entries 1 to 3.", self.verify(page))

    # --- a phone ------------------------------------------------------------------------------------------------------

    def test_a_phone_shows_all_of_it_without_overflow(self):
        app = self.busy_app()
        page = self.trail(app.auditor, width=390, height=844, scale=2, dark=True)
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
