"""What can't be undone, in the desk: deletion, now and later, redaction; and restoring. Tests/System/console runs this."""

import datetime

from console_case import H1, ConsoleCase, narrow_key, write
from setting import App, Key, sql


def exists(customer):
    return sql(f"SELECT count(*) FROM customers WHERE id = '{customer}'") == "1"


class DeletionTests(ConsoleCase):
    def test_a_deletion_shows_what_will_happen_and_wants_a_reason_and_the_name(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer, actor="eve@example.com")

        page.click("#act-delete")
        page.wait_text("dialog.sheet .foreseen", "It can be deleted")
        page.click("#decide")
        page.wait_text("#field-reason-fault", "Say why")
        page.wait_text("#field-typed-fault", "Type Ada Lovelace to confirm")
        page.fill("#field-reason", "Asked to be forgotten")
        page.fill("#field-typed", "Ada Love")
        page.press("Enter")
        page.wait_text("#field-typed-fault", "as it is shown")
        page.wait("document.activeElement.id === 'field-typed'")
        self.assertTrue(exists(customer))
        self.assertEqual(app.outcomes(customer), [])

        page.fill("#field-typed", "  ada  LOVELACE ")
        page.click("#decide")
        self.wait_done(page, "The customer was deleted.")

        self.assertFalse(exists(customer))
        page.wait_text("#page .badges", "DELETED")
        self.assertIn("by back office for eve@example.com", page.text("#page .notes"))
        self.assertEqual(page.text(H1), "Ada Lovelace")
        # If-Match and an idempotency key went along.
        self.assertEqual(sql(f"SELECT idempotency_key IS NOT NULL, reason FROM audit.entries WHERE customer_id = '{customer}'"),
                         "t|Asked to be forgotten")

    def test_what_refers_to_a_customer_is_shown_instead_of_a_way_to_delete_it(self):
        app = App()
        customer = app.customer("Ada", "Lovelace", invoice=True)
        page = self.customer_page(app.office, customer)

        page.click("#act-delete")

        page.wait_text("dialog.sheet .foreseen", "1 invoice (invoices_belong_to_a_customer)")
        self.assertIn("Archive or deactivate", page.text("dialog.sheet"))
        self.assertFalse(page.evaluate("document.querySelector('#decide').checkVisibility()"))
        self.assertEqual(app.outcomes(customer), [])

    def test_a_record_that_comes_in_between_refuses_the_deletion_in_words(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)
        page.expected.append("400")
        self.ask(page, "#act-delete")
        sql(f"INSERT INTO invoices (app_id, customer_id) VALUES ('{app.id}', '{customer}')")

        page.fill("#field-reason", "Ticket")
        page.fill("#field-typed", "Ada Lovelace")
        page.click("#decide")

        page.wait_text("dialog.sheet [role=alert]", "Records refer to the customer, so it can't be deleted. Nothing was done.")
        page.click("dialog.sheet [role=alert] button")
        page.wait_text("#outlook", "1 invoice")
        self.assertEqual(app.outcomes(customer), ["REFUSED"])

    def test_closing_a_refused_deletion_shows_what_refused_it(self):
        app = App()
        for way in ("Escape", "dialog.sheet .head button", "dialog.sheet .decision .actions button:first-child"):
            with self.subTest(way):
                customer = app.customer("Ada", "Lovelace")
                page = self.customer_page(app.office, customer)
                page.expected.append("400")
                self.ask(page, "#act-delete")
                write(app.office, "PUT", f"/api/v0/customers/{customer}/hold", {"reason": "Lawsuit"})
                page.fill("#field-reason", "Ticket")
                page.fill("#field-typed", "Ada Lovelace")
                page.click("#decide")
                page.wait_text("dialog.sheet [role=alert]", "Records refer to the customer")

                page.press("Escape") if way == "Escape" else page.click(way)

                page.wait("document.querySelector('dialog[open]') === null")
                page.wait_text("#outlook", "1 hold")
                page.wait_text("#page .badges", "ON HOLD")
                self.assertIn("release", self.actions(page))

    def test_leaving_the_page_with_a_refusal_shows_the_other_page(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)
        page.expected.append("412")
        write(app.office, "PATCH", f"/api/v0/customers/{customer}", {"last_name": "King"})
        self.decide(page, "archive")
        page.wait_text("dialog.sheet [role=alert]", "The record was changed")

        self.go(page, "/customers")

        page.wait_text("#found", "One customer")
        self.assertEqual(page.text(H1), "Customers")

    def test_a_name_that_nobody_can_type_is_confirmed_by_the_id(self):
        app = App()
        for first, last in (("\u200b", "\u2800"), ("A" + "\u0301" * 80, "B")):
            with self.subTest(repr(first)):
                customer = app.customer(first, last)
                page = self.customer_page(app.office, customer)
                self.decide(page, "delete", typed=customer[:8])
                self.wait_done(page, "The customer was deleted.")
                self.assertFalse(exists(customer))

    def test_a_deletion_is_scheduled_moved_and_called_off(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)

        self.decide(page, "schedule", typed="Ada Lovelace")
        self.wait_done(page, "The deletion is scheduled for ")
        page.wait_text("#page .badges", "DELETION SCHEDULED")
        in_a_month = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)
        self.assertIn(in_a_month.strftime("%Y-%m-%d"), page.text("#page .notes"))

        self.ask(page, "#act-schedule")
        page.evaluate("document.querySelector('#field-at').value = '2020-01-01T00:00'")
        page.fill("#field-reason", "Sooner")
        page.fill("#field-typed", "Ada Lovelace")
        page.click("#decide")
        page.wait_text("#field-at-fault", "It has to be in the future")
        sooner = in_a_month - datetime.timedelta(days=20)
        page.evaluate(f"document.querySelector('#field-at').value = '{sooner:%Y-%m-%dT%H:%M}'")
        page.click("#decide")
        page.wait_text("#page .notes", f"{sooner:%Y-%m-%d}")

        self.go(page, "/scheduled")
        page.wait_text("#schedules table", "Ada Lovelace")
        self.ask(page, f"#call-off-{customer}")
        page.fill("#field-reason", "Came back")
        page.click("#decide")
        self.wait_done(page, "The deletion is called off.")
        page.wait_text("#schedules", "None.")
        page.select("#schedule-status", "CANCELLED")
        page.wait_text("#schedules table", "CANCELLED")
        page.wait("document.activeElement.id === 'schedule-status' || document.activeElement.tagName === 'H1'")
        self.assertTrue(exists(customer))

        actions = sql(f"SELECT string_agg(action || ' ' || coalesce(reason, ''), ', ' ORDER BY seq) FROM audit.entries WHERE customer_id = '{customer}'")
        self.assertEqual(actions, "deletion.schedule Ticket 4711, deletion.schedule Sooner, deletion.cancel Came back")

    def test_a_schedule_that_somebody_else_changed_meanwhile_is_left_alone(self):
        app = App()
        first, second = "2027-01-01T00:00:00Z", "2027-02-02T00:00:00Z"
        for name, action, before, meanwhile, told in (
            ("scheduled", "schedule", None, first, "A deletion was scheduled after you loaded the page. It is set for 2027-01-01 00:00:00 UTC."),
            ("moved", "schedule", first, second, "The deletion was moved after you loaded the page. It is set for 2027-02-02 00:00:00 UTC."),
            ("called off", "schedule", first, None, "The deletion ran, or was called off, after you loaded the page."),
            ("moved before it is called off", "cancel-schedule", first, second, "The deletion was moved after you loaded the page."),
            ("called off twice", "cancel-schedule", first, None, "The deletion ran, or was called off, after you loaded the page."),
        ):
            with self.subTest(name):
                customer = app.customer("Ada", "Lovelace")
                schedule = f"/api/v0/customers/{customer}/scheduled-deletion"
                if before:
                    write(app.office, "PUT", schedule, {"at": before})
                page = self.customer_page(app.office, customer)
                self.ask(page, f"#act-{action}")
                if meanwhile:
                    write(app.office, "PUT", schedule, {"at": meanwhile})
                else:
                    write(app.office, "DELETE", schedule)
                entries = len(app.outcomes(customer))

                page.fill("#field-reason", "Ticket")
                if action == "schedule":
                    page.fill("#field-typed", "Ada Lovelace")
                page.click("#decide")

                page.wait_text("dialog.sheet [role=alert]", told)
                self.assertIn("Nothing was done. Load it again, and look.", page.text("dialog.sheet [role=alert]"))
                self.assertFalse(page.evaluate("document.querySelector('#decide').checkVisibility()"))
                self.assertEqual(len(app.outcomes(customer)), entries)
                page.click("dialog.sheet [role=alert] button")
                if meanwhile:
                    page.wait_text("#page .notes", meanwhile[:10])
                else:
                    page.wait("document.querySelector('#page .notes') === null")

    def test_a_deletion_that_was_moved_isnt_called_off_from_the_list(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        schedule = f"/api/v0/customers/{customer}/scheduled-deletion"
        write(app.office, "PUT", schedule, {"at": "2027-01-01T00:00:00Z"})
        page = self.sign_in(app.office, "/scheduled")
        self.ask(page, f"#call-off-{customer}")
        write(app.office, "PUT", schedule, {"at": "2027-02-02T00:00:00Z"})

        page.fill("#field-reason", "Came back")
        page.click("#decide")

        page.wait_text("dialog.sheet [role=alert]", "The deletion was moved after you loaded the page.")
        page.press("Escape")
        page.wait_text("#schedules table", "2027-02-02")
        self.assertEqual(app.outcomes(customer), ["SUCCEEDED", "SUCCEEDED"])

    def test_a_viewer_sees_what_is_scheduled_and_can_call_nothing_off(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        write(app.office, "PUT", f"/api/v0/customers/{customer}/scheduled-deletion", {"at": "2027-01-01T00:00:00Z"})
        for role in ("viewer", "editor"):
            with self.subTest(role):
                page = self.sign_in(Key(app.id, role, role), "/scheduled")
                page.wait_text("#schedules table", "Ada Lovelace")
                self.assertFalse(page.evaluate("document.querySelector('#schedules button') !== null"))

    def test_a_redaction_erases_a_living_customer_everywhere(self):
        app = App()
        customer = app.customer("Ada", "Lovelace", invoice=True)
        app.office.delete(customer, x_audit_reason="Ada asked")
        page = self.customer_page(app.office, customer)

        self.decide(page, "redact", typed="Ada Lovelace")
        self.wait_done(page, "The personal data is erased")

        page.wait_text(H1, "[redacted]")
        page.wait("!document.querySelector('#page').innerText.includes('Ada')")
        self.assertIn("[redacted]", sql(f"SELECT first_name FROM customers WHERE id = '{customer}'"))

    def test_a_deleted_customer_is_redacted_by_the_name_that_the_trail_knows(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        app.office.delete(customer)
        page = self.customer_page(app.office, customer)
        self.assertEqual(page.text(H1), "Ada Lovelace")

        self.decide(page, "redact", typed="Ada Lovelace")
        self.wait_done(page, "The personal data is erased")

        page.wait_text(H1, customer)
        self.assertEqual(sql(f"SELECT count(*) FROM audit.entries WHERE customer_id = '{customer}' AND before_image IS NOT NULL"), "0")

    def test_a_deleted_customer_is_restored(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        app.office.delete(customer)
        page = self.customer_page(app.office, customer)

        self.decide(page, "restore")
        self.wait_done(page, "The customer is back.")

        self.assertTrue(exists(customer))
        page.wait_text("#page .badges", "ACTIVE")

    def test_a_restore_says_that_it_calls_a_scheduled_deletion_off(self):
        app = App()
        told = "The deletion that is scheduled for 2027-01-01 00:00:00 UTC is called off along with it."
        for name, change, is_told in (("none", None, False), ("to come", "PUT", True), ("called off", "DELETE", False)):
            with self.subTest(name):
                customer = app.customer("Ada", "Lovelace")
                schedule = f"/api/v0/customers/{customer}/scheduled-deletion"
                if change:
                    write(app.office, "PUT", schedule, {"at": "2027-01-01T00:00:00Z"})
                if change == "DELETE":
                    write(app.office, "DELETE", schedule)
                app.office.delete(customer)
                page = self.customer_page(app.office, customer)

                self.ask(page, "#act-restore")

                self.assertIn("Brings the record back", page.text("dialog.sheet .foreseen"))
                (self.assertIn if is_told else self.assertNotIn)("called off", page.text("dialog.sheet .foreseen"))
                if is_told:
                    self.assertIn(told, page.text("dialog.sheet .foreseen"))

    def test_a_restore_that_is_too_late_is_told_in_words(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        app.office.delete(customer)
        page = self.customer_page(app.office, customer)
        page.expected.append("409")
        write(app.office, "POST", f"/api/v0/customers/{customer}/restore")

        self.decide(page, "restore")
        page.wait_text("dialog.sheet [role=alert]", "The customer exists")
        page.click("dialog.sheet [role=alert] button")
        page.wait_text("#page .badges", "ACTIVE")

    def test_a_key_without_the_trail_knows_a_deleted_customer_by_its_id(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        app.office.delete(customer)
        page = self.customer_page(narrow_key(app, "admin", "eraser", ["customers:read", "customers:delete"]), customer)

        self.assertIn("your key may not read", page.text("#page .notes"))
        self.decide(page, "redact", typed=customer[:8])
        self.wait_done(page, "The personal data is erased")
