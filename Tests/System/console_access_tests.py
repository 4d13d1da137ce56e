"""The desk by keyboard, to a screen reader, on a phone, and with names that are made to do harm; Tests/System/console runs this."""

import json
import uuid

from console_case import H1, ConsoleCase, sign_checkpoints, write
from setting import App, Key, sql

MARKUP = '<img src="x" onerror="alert(1)"><script>alert(1)</script>'
PILE = "Z" + "\u0338\u0300\u035b\u0489" * 24


class AccessTests(ConsoleCase):
    def furnished(self):
        """An app with something on every page: a customer, its entry, a webhook and a bulk deletion."""
        app = App()
        customer = app.customer("Ada", "Lovelace", invoice=True)
        app.office.delete(customer, x_audit_reason="first try")
        write(app.office, "PUT", f"/api/v0/customers/{customer}/hold", {"reason": "Lawsuit"})
        write(app.office, "PUT", f"/api/v0/customers/{customer}/scheduled-deletion", {"at": "2027-01-01T00:00:00Z"})
        hook = json.loads(write(app.office, "POST", "/api/v0/webhooks", {"url": "http://127.0.0.1:9/hooks"}).body)["id"]
        app.office.request("POST", f"/api/v0/webhooks/{hook}/ping")
        ids = [customer, str(uuid.uuid4()), app.customer("Alan", "Turing")]
        bulk = json.loads(write(app.office, "POST", "/api/v0/bulk-deletions", {"ids": ids, "dry_run": True}).body)["id"]
        sign_checkpoints()
        entry = sql(f"SELECT id FROM audit.entries WHERE app_id = '{app.id}' AND seq = 1")
        return app, {
            "/customers": "#found", f"/customers/{customer}": "#page .columns-2", "/scheduled": "#schedules table",
            "/bulk": "#bulk-runs table", f"/bulk/{bulk}?dry=1": "#bulk-results table", "/webhooks": "#page table",
            f"/webhooks/{hook}": "#deliveries table", "/trail": "#entries li", f"/trail?entry={entry}": "#entry[open] .lead",
            f"/entries/{entry}/certificate?disclose=subject,context": "#certificate-verdict .good", "/nowhere": H1,
        }

    def visit(self, page, path, selector):
        self.go(page, path)
        page.wait(f"document.querySelector({json.dumps(selector)})?.checkVisibility() ?? false")

    def test_axe_finds_nothing_on_any_page_in_light_and_dark(self):
        app, pages = self.furnished()
        for dark in (False, True):
            page = self.open(dark=dark)
            page.expected.append("404")
            page.wait("document.activeElement?.id === 'client-key'")
            self.assert_accessible(page, f"sign-in, dark: {dark}")
            self.enter(page, app.office)
            page.wait("!document.querySelector('#menu').hidden")
            for path, selector in pages.items():
                with self.subTest(path, dark=dark):
                    self.visit(page, path, selector)
                    self.assert_accessible(page, path)

    def test_axe_finds_nothing_in_any_dialog_and_its_states(self):
        app, pages = self.furnished()
        customer = next(path for path in pages if path.startswith("/customers/"))
        page = self.sign_in(app.office, customer)
        page.wait("document.querySelector('#page .columns-2') !== null")
        for action in self.actions(page):
            with self.subTest(action):
                page.click(f"#act-{action}")
                page.wait("document.querySelector('dialog.sheet .foreseen')?.innerText.length > 40")
                self.assert_accessible(page, action)
                if page.evaluate("document.querySelector('#decide').checkVisibility()"):
                    page.click("#decide")
                    page.wait_text("#field-reason-fault", "Say why")
                    self.assert_accessible(page, f"{action}, without a reason")
                page.press("Escape")
                page.wait("document.querySelector('dialog[open]') === null")

        hook = next(path for path in pages if path.startswith("/webhooks/"))
        self.visit(page, hook, "#deliveries table")
        for action in self.actions(page):
            with self.subTest(f"webhook {action}"):
                self.ask(page, f"#act-{action}")
                self.assert_accessible(page, action)
                page.press("Escape")
                page.wait("document.querySelector('dialog[open]') === null")

        self.visit(page, "/webhooks", "#new-webhook")
        page.click("#new-webhook")
        self.assert_accessible(page, "a new webhook")

    def test_axe_finds_nothing_in_what_pages_become(self):
        app, pages = self.furnished()
        deleted, unsigned = app.customer("Grace", "Hopper"), app.customer("Mary", "Shaw")
        app.office.delete(deleted)
        app.office.delete(unsigned)
        entry = sql(f"SELECT id FROM audit.entries WHERE customer_id = '{unsigned}'")
        customer = next(path for path in pages if path.startswith("/customers/"))
        run = next(path for path in pages if path.startswith("/bulk/"))

        def search(page):
            page.fill("#search", "nobody")
            page.press("Enter")
            page.wait_text("#found", "No customer")

        def read_list(page):
            page.fill("#list", f"id\n{deleted}\nnonsense\n")
            page.click(".rejected summary")

        def verify(page):
            page.press("v")
            page.wait_text("#verify-result", "The chain is intact")
            page.click(".table summary")

        def decide_bulk(page):
            self.ask(page, "#bulk-delete")

        states = (
            (f"/customers/{deleted}", "#act-restore", lambda page: None),
            (f"/customers/{uuid.uuid4()}", "#page .notes", lambda page: None),
            (customer, "#transactions", lambda page: page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")),
            ("/customers", "#search", search), ("/scheduled?status=CANCELLED", "#schedules", lambda page: None), ("/bulk", "#list", read_list),
            (run, "#bulk-delete", decide_bulk), (f"/entries/{entry}/certificate", "#page code", lambda page: None),
            ("/trail", "#entries li", verify), ("/trail?actor=nobody", "#empty", lambda page: page.press("?")),
        )
        for width in (1280, 390):
            page = self.sign_in(app.office, "/customers", width=width, dark=width < 600)
            for path, selector, steps in states:
                with self.subTest(path, width=width):
                    self.visit(page, path, selector)
                    steps(page)
                    self.assert_accessible(page, path)
                    self.assert_fits(page, path)
                    page.press("Escape")
                    page.wait("document.querySelector('dialog[open]') === null")

    def test_axe_finds_nothing_where_something_goes_wrong(self):
        app, _ = self.furnished()
        customer = app.customer("Grace", "Hopper")
        page = self.customer_page(app.office, customer)
        page.expected += ["412", "500"]
        write(app.office, "PATCH", f"/api/v0/customers/{customer}", {"last_name": "Murray"})
        self.decide(page, "archive")
        page.wait_text("dialog.sheet [role=alert]", "The record was changed")
        self.assert_accessible(page, "a record that was changed")
        page.click("dialog.sheet [role=alert] button")
        page.wait_text(H1, "Grace Murray")
        page.answer("POST", "/archive", 500, "Internal server error")
        self.decide(page, "archive")
        page.wait_text("dialog.sheet [role=alert]", "It isn't known")
        self.assert_accessible(page, "in doubt")
        page.click("#decide")
        self.wait_done(page, "The customer is archived.")
        self.assert_accessible(page, "done")

    def test_a_dialog_keeps_the_focus_and_gives_it_back(self):
        app = App()
        page = self.customer_page(app.office, app.customer("Ada", "Lovelace"))
        focused = "document.activeElement.id || document.activeElement.innerText"

        page.evaluate("document.querySelector('#act-delete').focus()")
        page.press("Enter")
        page.wait("document.querySelector('dialog.sheet .decision')?.checkVisibility()")
        self.assertEqual(page.evaluate(focused), "dialog-title")
        order = []
        for _ in range(6):
            page.press("Tab")
            order.append(page.evaluate(focused))
        self.assertEqual(order, ["Close", "field-reason", "field-typed", "Cancel", "decide", "Close"])
        page.press("Tab", shift=True)
        self.assertEqual(page.evaluate(focused), "decide")
        page.press("Escape")
        page.wait("document.querySelector('dialog[open]') === null")
        self.assertEqual(page.evaluate(focused), "act-delete")

    def test_the_focus_goes_along_with_the_page(self):
        app, pages = self.furnished()
        page = self.sign_in(app.office, "/customers")
        for path, selector in pages.items():
            if "entry=" in path:
                continue
            with self.subTest(path):
                self.visit(page, path, selector)
                page.wait("document.activeElement.tagName === 'H1' && document.activeElement.checkVisibility()")
                self.assertIn("· Desk" if path != "/nowhere" else "", page.evaluate("document.title"))

    def test_everything_that_can_be_pressed_has_a_name_and_a_place_in_the_order(self):
        app, pages = self.furnished()
        page = self.sign_in(app.office, "/customers")
        for path, selector in pages.items():
            with self.subTest(path):
                self.visit(page, path, selector)
                nodes = [node for node in page.call("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
                pressed = [node for node in nodes if node.get("role", {}).get("value") in ("button", "link", "textbox", "combobox", "searchbox")]
                self.assertEqual([node for node in pressed if not node.get("name", {}).get("value")], [])

        self.visit(page, "/customers", ".people a")
        page.evaluate("document.querySelector('.skip').focus()")
        order = []
        for _ in range(12):
            page.press("Tab")
            order.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
            self.assertTrue(page.evaluate("document.activeElement.matches(':focus-visible')"), order)
        self.assertEqual(order[:9], ["Customers", "Scheduled deletions", "Bulk deletion", "Webhooks", "Audit trail", "sign-out",
                                     "search", "search-status", "search-archived"])

    def test_the_reference_opens_beside_the_desk(self):
        page = self.open()
        page.wait("document.activeElement?.id === 'client-key'")

        link = page.evaluate("(({ pathname, target, rel }) => [pathname, target, rel])(document.querySelector('footer a'))")

        # In the same tab, the secret would be lost.
        self.assertEqual(link, ["/reference", "_blank", "noopener"])

    def test_the_skip_link_leads_to_the_page(self):
        app = App()
        page = self.sign_in(app.office, "/customers")
        page.evaluate("document.querySelector('.skip').focus()")
        page.press("Enter")
        page.wait("document.activeElement.tagName === 'H1'")
        self.assertEqual(page.evaluate("location.hash"), "#/customers")

    def test_every_page_fits_from_320_pixels_on(self):
        app, pages = self.furnished()
        for width in (320, 390, 768, 1920):
            page = self.sign_in(app.office, "/customers", width=width, height=800)
            for path, selector in pages.items():
                with self.subTest(path, width=width):
                    self.visit(page, path, selector)
                    self.assert_fits(page, path)
            customer = next(path for path in pages if path.startswith("/customers/"))
            self.visit(page, customer, "#act-schedule")
            self.ask(page, "#act-schedule")
            self.assert_fits(page, f"a dialog at {width}")

    def test_hostile_names_do_nothing(self):
        app = App()
        names = {"markup": (MARKUP[:100], "<b>"), "direction": ("A\u202eda\u2066", "Love\u200blace"), "pile": (PILE, "B"), "blank": ("\u2800", "\u200b")}
        for name, (first, last) in names.items():
            with self.subTest(name):
                customer = app.customer(first, last)
                write(app.office, "PUT", f"/api/v0/customers/{customer}/scheduled-deletion", {"at": "2027-01-01T00:00:00Z"})
                app.office.delete(app.customer(first, last, invoice=True))
                page = self.sign_in(app.office, f"/customers/{customer}")
                page.wait("document.querySelector('#page .columns-2') !== null")
                self.ask(page, "#act-delete")
                self.assert_harmless(page)
                page.press("Escape")
                for path, selector in (("/customers", ".people a"), ("/scheduled", "#schedules table"), ("/trail", "#entries li")):
                    self.visit(page, path, selector)
                    self.assert_harmless(page)

    def assert_harmless(self, page):
        text = page.evaluate("document.body.innerText + [...document.querySelectorAll('[aria-label]')].map((element) => element.ariaLabel).join()")
        for character in "\u202e\u2066\u200b\u2800":
            self.assertNotIn(character, text)
        self.assertEqual(page.evaluate("document.querySelectorAll('img[onerror], script:not([src])').length"), 0)
        self.assertEqual(page.evaluate("/\\p{M}{7}/u.test(document.body.innerText)"), False)
        # Every name is isolated: what stands around it keeps its direction.
        self.assertEqual(page.evaluate("[...document.querySelectorAll('.name')].filter((name) => name.tagName !== 'BDI').length"), 0)

    def test_ten_thousand_marks_cover_nothing(self):
        app = App()
        customer = app.customer("Ada", "Lovelace")
        sql(f"INSERT INTO payment_links (app_id, customer_id, url) VALUES ('{app.id}', '{customer}', 'https://example.com/' || repeat(U&'\\0338\\0489', 5000))")
        page = self.customer_page(app.office, customer)

        page.click("#payment-links summary")
        page.wait_text("#payment-links table", "marks")
        page.wait_text("#payment-links table", "characters")

        self.assertLess(page.evaluate("document.querySelector('#payment-links tbody tr').getBoundingClientRect().height"), 400)
        self.assertEqual(page.evaluate("/\\p{M}{7}/u.test(document.querySelector('#page').innerText)"), False)
        # Pasted into the list of a bulk deletion, they are shown as harmlessly.
        self.visit(page, "/bulk", "#list")
        page.evaluate("(() => { const list = document.querySelector('#list'); list.value = 'id\\nx' + '\\u0338'.repeat(10000) + '\\u202e<b>';"
                      " list.dispatchEvent(new Event('input')); })()")
        page.click(".rejected summary")
        page.wait_text(".rejected table", "marks")
