"""Answers that don't come, and those that say no: in words, and never anything done twice. Tests/System/console runs this."""

import json

from console_case import H1, ConsoleCase, write
from setting import App, Key, sql


class AnswerTests(ConsoleCase):
    def page_of_ada(self, *expected):
        """An app, a customer of it, and the page of that one, whose browser will log what is expected."""
        app = App()
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(app.office, customer)
        page.expected += expected
        return app, customer, page

    def entries(self, customer):
        """action, outcome and idempotency key of each attempt on a customer."""
        found = sql("SELECT json_agg(json_build_array(action, outcome, idempotency_key) ORDER BY seq) "
                    f"FROM audit.entries WHERE customer_id = '{customer}'")
        return json.loads(found) if found else []

    def test_a_lost_answer_is_asked_for_again_under_the_same_key(self):
        app, customer, page = self.page_of_ada("ERR_CONNECTION_RESET")
        page.lose("DELETE", customer, times=2)

        self.decide(page, "delete", typed="Ada Lovelace")
        page.wait_text("dialog.sheet .state", "under the same idempotency key")
        self.wait_done(page, "The customer was deleted.")

        entries = self.entries(customer)
        self.assertEqual([outcome for _, outcome, _ in entries], ["SUCCEEDED", "REPLAYED", "REPLAYED"])
        self.assertEqual(len({key for _, _, key in entries}), 1)

    def test_what_is_in_doubt_is_finished_before_anything_else_even_after_closing(self):
        app, customer, page = self.page_of_ada("ERR_CONNECTION_RESET")
        page.lose("PATCH", customer, times=5)

        self.decide(page, "blacklist")
        page.wait_text("dialog.sheet .state", "trying again")
        page.click("dialog.sheet .decision .actions button:first-child")
        page.wait_text("dialog.sheet [role=alert]", "It isn't known whether it was done. Try again: it is never done twice.")
        self.assertEqual(page.text("#decide"), "Try again")
        # It can only be sent as it was.
        self.assertTrue(page.evaluate("document.querySelector('#field-reason').matches(':disabled')"))
        page.press("Escape")
        page.wait("document.querySelector('dialog[open]') === null")

        page.faults.clear()
        page.click("#act-blacklist")
        page.wait_text("dialog.sheet [role=alert]", "The answer to this was lost.")
        page.click("#decide")
        self.wait_done(page, "The status is BLACKLISTED now.")

        entries = self.entries(customer)
        self.assertEqual({key for _, _, key in entries} - {entries[0][2]}, set())
        self.assertEqual(entries[0][1], "SUCCEEDED")
        self.assertEqual({outcome for _, outcome, _ in entries[1:]}, {"REPLAYED"})

    def test_a_page_with_something_in_doubt_asks_before_it_is_left(self):
        app, customer, page = self.page_of_ada("ERR_CONNECTION_RESET")
        asks = "!dispatchEvent(new Event('beforeunload', {cancelable: true}))"
        self.assertFalse(page.evaluate(asks))
        page.lose("POST", customer, times=1)

        self.decide(page, "archive")
        page.wait_text("dialog.sheet .state", "trying again")
        self.assertTrue(page.evaluate(asks))
        self.wait_done(page, "The customer is archived.")
        self.assertFalse(page.evaluate(asks))

    def test_a_503_is_tried_again_under_the_same_key(self):
        app, customer, page = self.page_of_ada("503")
        page.answer("POST", f"{customer}/archive", 503, "Service temporarily unavailable", retry_after=1)

        self.decide(page, "archive")
        page.wait_text("dialog.sheet .state", "Service temporarily unavailable; trying again in 1 s")
        self.wait_done(page, "The customer is archived.")

        self.assertEqual(app.outcomes(customer), ["SUCCEEDED"])

    def test_a_first_attempt_that_is_under_way_is_waited_for(self):
        app, customer, page = self.page_of_ada("409")
        page.answer("POST", f"{customer}/archive", 409, "A request with this idempotency-key is in progress", retry_after=1)

        self.decide(page, "archive")
        self.wait_done(page, "The customer is archived.")

    def test_a_429_says_when_and_can_then_be_sent(self):
        app, customer, page = self.page_of_ada("429")
        page.answer("POST", f"{customer}/archive", 429, "Rate limit exceeded", retry_after=3)

        self.decide(page, "archive")
        page.wait_text("dialog.sheet [role=alert]", "Your key has asked too often. Nothing was done. It can be used again at ")
        page.wait_text("#decide", "Archive in ")
        self.assertTrue(page.evaluate("document.querySelector('#decide').disabled"))
        # Nothing is in doubt, so it can be changed.
        page.fill("#field-reason", "Another reason")
        page.wait("!document.querySelector('#decide').disabled")
        page.click("#decide")
        self.wait_done(page, "The customer is archived.")
        self.assertEqual(sql(f"SELECT reason FROM audit.entries WHERE customer_id = '{customer}'"), "Another reason")

    def test_a_429_in_doubt_stays_in_doubt(self):
        app, customer, page = self.page_of_ada("429", "ERR_CONNECTION_RESET")
        page.lose("POST", f"{customer}/archive")
        page.answer("POST", f"{customer}/archive", 429, "Rate limit exceeded", retry_after=1)
        self.decide(page, "archive")

        page.wait_text("dialog.sheet [role=alert]", "It isn't known whether it was done.")
        self.assertTrue(page.evaluate("document.querySelector('#field-reason').matches(':disabled')"))
        page.wait("document.querySelector('#decide').innerText === 'Try again'")
        page.click("#decide")
        self.wait_done(page, "The customer is archived.")
        self.assertEqual(app.outcomes(customer), ["SUCCEEDED", "REPLAYED"])

    def test_a_record_that_somebody_else_changed_is_loaded_again(self):
        app, customer, page = self.page_of_ada("412")
        write(app.office, "PATCH", f"/api/v0/customers/{customer}", {"last_name": "King"})

        self.decide(page, "delete", typed="Ada Lovelace")
        page.wait_text("dialog.sheet [role=alert]", "The record was changed after you loaded it. Nothing was done.")
        self.assertFalse(page.evaluate("document.querySelector('#decide').checkVisibility()"))
        page.click("dialog.sheet [role=alert] button")

        page.wait_text(H1, "Ada King")
        self.assertEqual(app.outcomes(customer), ["SUCCEEDED", "CONFLICT"])

    def test_a_permission_that_was_taken_is_told(self):
        app = App()
        support = Key(app.id, "admin", "support")
        customer = app.customer("Ada", "Lovelace")
        page = self.customer_page(support, customer)
        page.expected.append("403")
        sql(f"UPDATE service.api_keys SET permissions = '{{customers:read}}' WHERE client_key = '{support.client_key}'")

        self.decide(page, "archive")

        page.wait_text("dialog.sheet [role=alert]", "Your key may not do this")
        self.assertEqual(app.outcomes(customer), ["FORBIDDEN"])

    def test_a_page_waits_for_the_service_and_says_so(self):
        app = App()
        app.customer("Ada", "Lovelace")
        page = self.sign_in(app.office, "/customers")
        page.expected.append("503")
        page.answer("GET", "/api/v0/customers?", 503, "Service temporarily unavailable", retry_after=1)

        page.click("#page form button[type=submit]")

        page.wait_text("#waiting", "Service temporarily unavailable; trying again in 1 s")
        page.wait("document.querySelector('#waiting').hidden")
        page.wait_text("#found", "One customer")
