"""Finding a customer in the desk, looking at it, and doing what can be undone; Tests/System/console runs this."""

import json

from console_case import H1, ConsoleCase, write
from setting import App, Key, sql


class CustomerTests(ConsoleCase):
    def look_for(self, page, text, names):
        page.fill("#search", text)
        page.press("Enter")
        page.wait("JSON.stringify([...document.querySelectorAll('.people .who')].map((name) => name.innerText)) === "
                  + json.dumps(json.dumps(names, separators=(",", ":"))))

    def test_a_customer_is_found_by_name_email_phone_and_id(self):
        app = App()
        ada = app.customer("Ada", "Lovelace")
        app.customer("Alan", "Turing")
        sql(f"UPDATE customers SET phone_number = '+49 170 5550123' WHERE id = '{ada}'")
        page = self.sign_in(Key(app.id, "viewer", "front desk"))
        page.wait_text("#found", "2 customers")

        self.look_for(page, "a love", ["Ada Lovelace"])
        self.assertIn("name", page.text("#search-kind"))
        self.look_for(page, "turing@", ["Alan Turing"])
        self.assertIn("email", page.text("#search-kind"))
        self.look_for(page, "0170/555-0123", ["Ada Lovelace"])
        self.assertIn("phone", page.text("#search-kind"))
        self.look_for(page, "nobody", [])
        # What was looked for is nowhere in the history of the browser.
        self.assertEqual(page.evaluate("location.hash"), "#/customers")

        page.fill("#search", ada.upper())
        page.press("Enter")
        page.wait_text(H1, "Ada Lovelace")
        self.assertEqual(page.evaluate("location.hash"), f"#/customers/{ada}")

    def test_a_search_is_narrowed_and_kept_while_one_looks_around(self):
        app = App()
        for number in range(25):
            app.customer("Ada", f"Lovelace {number}")
        archived = app.customer("Grace", "Hopper")
        write(app.office, "POST", f"/api/v0/customers/{archived}/archive")
        page = self.sign_in(app.office)
        page.wait_text("#found", "25 customers, 1 to 20")

        page.click("#older-customers")
        page.wait_text("#found", "25 customers, 21 to 25")
        page.wait("document.querySelectorAll('.people li').length === 5")
        page.click("#newer")
        page.wait_text("#found", "1 to 20")

        page.click("#search-archived")
        self.look_for(page, "hopper", ["Grace Hopper"])
        page.click(".people a")
        page.wait_text("#page .badges", "ARCHIVED")
        page.click(".back a")
        page.wait_text("#found", "One customer")
        self.assertEqual(page.evaluate("document.querySelector('#search').value"), "hopper")
        page.select("#search-status", "BLACKLISTED")
        page.click("#page form button[type=submit]")
        page.wait_text("#found", "No customer")

    def test_the_page_shows_the_record_what_refers_to_it_and_what_a_deletion_would_do(self):
        app = App()
        customer = app.customer("Ada", "Lovelace", "9999999999999999.90", invoice=True)
        sql(f"INSERT INTO transactions (app_id, customer_id, kind, amount) SELECT '{app.id}', '{customer}', 'refund', -n FROM generate_series(1, 12) n")
        app.office.delete(customer, x_audit_reason="first try")
        page = self.customer_page(app.office, customer)

        text = page.text("#page")
        for part in ("lovelace@example.com", "9999999999999999.90", "It can't be deleted", "1 invoice ", "12 transactions"):
            self.assertIn(part, text)
        page.click("#transactions summary")
        page.wait_text("#transactions .listed", "1 to 10 of 12")
        self.assertIn("refund", page.text("#transactions table"))
        page.click("#transactions-older")
        page.wait_text("#transactions .listed", "11 to 12 of 12")
        page.wait("document.activeElement.id === 'transactions-newer' || document.activeElement.tagName === 'H1'")

        page.click("#page .entries a")
        page.wait_text("#entry-body", "first try")
        self.assertIn(f"customer_id={customer}", page.evaluate("location.hash"))

    def test_an_editor_changes_the_status_with_a_reason(self):
        app = App()
        editor = Key(app.id, "editor", "support")
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(editor, customer, actor="eve@example.com")

        self.decide(page, "blacklist", reason="Chargebacks – “Łódź”")
        self.wait_done(page, "The status is BLACKLISTED now.")
        page.wait_text("#page .badges", "BLACKLISTED")
        page.wait("document.activeElement.id === 'act-deactivate' || document.activeElement.tagName === 'H1'")
        self.decide(page, "deactivate")
        self.wait_done(page, "The status is DEACTIVATED now.")
        page.wait_text("#page .badges", "DEACTIVATED")
        self.decide(page, "activate")
        self.wait_done(page, "The status is ACTIVE now.")

        entries = sql(f"SELECT json_agg(json_build_array(action, outcome, reason, actor_claimed) ORDER BY seq) FROM audit.entries WHERE app_id = '{app.id}'")
        self.assertEqual(json.loads(entries), [
            ["customer.status", "SUCCEEDED", "Chargebacks – “Łódź”", "eve@example.com"],
            ["customer.status", "SUCCEEDED", "Ticket 4711", "eve@example.com"],
            ["customer.status", "SUCCEEDED", "Ticket 4711", "eve@example.com"]])

    def test_a_reason_is_asked_for(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)

        self.decide(page, "blacklist", reason=None)

        page.wait_text("#field-reason-fault", "Say why")
        page.wait("document.activeElement.id === 'field-reason'")
        self.assertEqual(page.evaluate("document.activeElement.getAttribute('aria-invalid')"), "true")
        self.assertEqual(app.outcomes(customer), [])

    def test_archive_and_back(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)

        self.decide(page, "archive")
        self.wait_done(page, "The customer is archived.")
        page.wait_text("#page .badges", "ARCHIVED")
        self.decide(page, "unarchive")
        self.wait_done(page, "The customer is in use again.")
        page.wait("!document.querySelector('#page .badges').innerText.includes('ARCHIVED')")

    def test_a_hold_is_placed_changed_and_released(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)

        self.decide(page, "hold", reason="Lawsuit 12/26")
        self.wait_done(page, "The hold is placed.")
        page.wait_text("#page .notes", "placed by back office")
        self.assertIn("Lawsuit 12/26", page.text("#page .notes"))
        self.assertIn("1 hold", page.text("#outlook"))

        self.ask(page, "#act-hold")
        page.fill("#field-reason", "Lawsuit 13/26")
        page.evaluate("document.querySelector('#field-until').value = '2099-01-02T03:04'")
        page.click("#decide")
        page.wait_text("#page .notes", "until 2099-01-02 03:04:00 UTC")

        page.click("#act-delete")
        page.wait_text("dialog.sheet", "It can't be deleted")
        self.assertFalse(page.evaluate("document.querySelector('#decide').checkVisibility()"))
        page.press("Escape")
        page.click("#act-redact")
        page.wait_text("dialog.sheet", "under a hold")
        self.assertFalse(page.evaluate("document.querySelector('#decide').checkVisibility()"))
        page.press("Escape")

        self.decide(page, "release")
        self.wait_done(page, "The hold is released.")
        page.wait("document.querySelector('#page .notes') === null")

    def test_a_hold_that_somebody_else_changed_meanwhile_is_left_alone(self):
        app = App()
        legal = Key(app.id, "admin", "legal")
        mine, theirs = {"reason": "Lawsuit 12/26"}, {"reason": "Lawsuit 13/26", "until": "2099-01-02T03:04:00Z"}
        changed = "The hold was changed after you loaded the page. It is by legal, until 2099-01-02 03:04:00 UTC: “Lawsuit 13/26”."
        gone = "The hold was released, or its time was over, after you loaded the page."
        for name, action, before, meanwhile, told in (
            ("placed", "hold", None, theirs, changed.replace("The hold was changed", "A hold was placed")),
            ("changed", "hold", mine, theirs, changed),
            ("placed again as it was", "hold", mine, mine, "The hold was changed after you loaded the page. It is by legal: “Lawsuit 12/26”."),
            ("released", "hold", mine, None, gone),
            ("changed before it is released", "release", mine, theirs, changed),
            ("released twice", "release", mine, None, gone),
        ):
            with self.subTest(name):
                customer = app.customer("Ada", "Lovelace")
                hold = f"/api/v0/customers/{customer}/hold"
                if before:
                    write(app.office, "PUT", hold, before)
                page = self.customer_page(app.office, customer)
                self.ask(page, f"#act-{action}")
                if meanwhile:
                    write(legal, "PUT", hold, meanwhile)
                else:
                    write(legal, "DELETE", hold)
                entries = len(app.outcomes(customer))

                page.fill("#field-reason", "Another lawsuit")
                page.click("#decide")

                page.wait_text("dialog.sheet [role=alert]", told)
                self.assertIn("Nothing was done. Load it again, and look.", page.text("dialog.sheet [role=alert]"))
                self.assertFalse(page.evaluate("document.querySelector('#decide').checkVisibility()"))
                # Nor is it sent by the keyboard.
                page.evaluate("document.querySelector('dialog.sheet form').requestSubmit()")
                self.assertEqual(len(app.outcomes(customer)), entries)
                page.click("dialog.sheet [role=alert] button")
                if meanwhile:
                    page.wait_text("#page .notes", "placed by legal")
                else:
                    page.wait("document.querySelector('#page .notes') === null")

                # With that on the page, it is done.
                self.decide(page, "hold", reason="Another lawsuit")
                self.wait_done(page, "The hold is placed.")

    def test_a_hold_whose_answer_was_lost_is_finished_though_it_is_another_now(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)
        page.expected.append("ERR_CONNECTION_RESET")
        page.lose("PUT", f"{customer}/hold", times=1)

        self.decide(page, "hold")
        page.wait_text("dialog.sheet .state", "trying again")
        page.click("dialog.sheet .decision .actions button:first-child")
        page.wait_text("dialog.sheet [role=alert]", "It isn't known whether it was done.")
        page.click("#decide")
        self.wait_done(page, "The hold is placed.")

        self.assertEqual(app.outcomes(customer), ["SUCCEEDED", "REPLAYED"])

    def test_a_hold_that_cant_be_looked_at_isnt_replaced(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)
        page.expected.append("503")
        self.ask(page, "#act-hold")
        page.answer("GET", f"{customer}/hold", 503, "Service temporarily unavailable", times=2, retry_after=2)

        page.fill("#field-reason", "Lawsuit")
        page.click("#decide")
        page.wait_text("dialog.sheet .state", "Service temporarily unavailable; trying again in 2 s")
        page.click("dialog.sheet .decision .actions button:first-child")
        page.wait_text("dialog.sheet [role=alert]", "It was stopped.")
        self.assertEqual(app.outcomes(customer), [])
        page.click("#decide")
        self.wait_done(page, "The hold is placed.")

    def test_an_export_is_saved_and_leaves_its_entry(self):
        app = App()
        customer = app.customer("Ada", "Lovelace", invoice=True)
        page = self.customer_page(app.office, customer)

        self.decide(page, "export", reason="Access request 9")
        self.wait_done(page, "The export is saved.")

        document = json.loads(self.saved().read_text())
        self.assertEqual(self.saved().name, f"customer-{customer}.json")
        self.assertEqual(document["customer"]["first_name"], "Ada")
        self.assertEqual(sql(f"SELECT action, reason FROM audit.entries WHERE app_id = '{app.id}'"), "customer.export|Access request 9")
