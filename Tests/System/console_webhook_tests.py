"""Webhooks in the desk; Tests/System/console runs this."""

import http.server
import json
import threading

from console_case import H1, ConsoleCase
from setting import App, sql


class Receiver:
    """Keeps what comes, and answers with a status that can be changed."""

    def __init__(self):
        self.events, self.status = [], 204
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                receiver.events.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class WebhookTests(ConsoleCase):
    def setUp(self):
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        self.app = App()

    def make(self, page):
        self.ask(page, "#new-webhook")
        page.fill("#field-url", f"http://{self.receiver.host}/hooks")
        page.fill("#field-description", "CRM")
        page.click("#decide")
        page.wait_text("#webhook-secret", "whsec_")
        secret = page.text("#webhook-secret")
        page.press("Escape")
        page.wait("document.querySelector('dialog[open]') === null")
        return secret

    def test_a_webhook_is_made_and_its_secret_shown_once(self):
        page = self.sign_in(self.app.office, "/webhooks")
        secret = self.make(page)

        page.wait_text(H1, self.receiver.host)
        page.wait_text("#page .badges", "ENABLED")
        page.wait(f"!document.documentElement.outerHTML.includes({json.dumps(secret)})")
        page.click(".back a")
        page.wait_text("#page table", f"http://{self.receiver.host}/hooks")
        self.assertIn("CRM", page.text("#page table"))

    def test_what_is_wrong_with_an_address_is_told(self):
        page = self.sign_in(self.app.office, "/webhooks")
        page.expected.append("400")
        self.ask(page, "#new-webhook")
        page.click("#decide")
        page.wait_text("#field-url-fault", "Say where events go")
        page.fill("#field-url", "https://somebody@example.com/")
        page.click("#decide")
        page.wait_text("dialog.sheet [role=alert]", "url must not have a user name or password.")
        self.assertEqual(sql(f"SELECT count(*) FROM service.webhooks WHERE app_id = '{self.app.id}'"), "0")

    def test_some_events_alone(self):
        page = self.sign_in(self.app.office, "/webhooks")
        self.ask(page, "#new-webhook")
        page.evaluate("[...document.querySelectorAll('#field-types input')].slice(1).forEach((box) => box.click())")
        page.fill("#field-url", f"http://{self.receiver.host}/")
        page.click("#decide")
        page.wait_text("#webhook-secret", "whsec_")
        page.press("Escape")
        page.wait_text("#page dl", "customer.created")

    def test_deliveries_pings_pauses_and_replays(self):
        page = self.sign_in(self.app.office, "/webhooks")
        self.make(page)
        page.wait_text("#deliveries", "None yet.")

        self.decide(page, "ping")
        page.wait_text("#notice", "The receiver answered 204")
        page.wait_text("#deliveries table", "ping")

        self.app.office.delete(self.app.customer("Ada", "Lovelace"))
        page.wait_text("#deliveries table", "customer.deleted")
        self.receiver.status = 500
        self.decide(page, "ping")
        page.wait_text("#notice", "The ping failed")
        self.receiver.status = 204

        self.decide(page, "pause")
        self.wait_done(page, "The webhook is paused.")
        page.wait_text("#page .badges", "DISABLED")
        self.decide(page, "resume")
        self.wait_done(page, "The webhook goes on.")
        page.wait_text("#page .badges", "ENABLED")

        count = sum(event["type"] == "customer.deleted" for event in self.receiver.events)
        self.ask(page, "#act-replay")
        page.fill("#field-after", "0")
        page.click("#decide")
        self.wait_done(page, "Events are sent from there on.")
        page.wait(f"[...document.querySelectorAll('#deliveries tbody tr')].filter((row) => row.innerText.includes('customer.deleted')).length === {count + 1}")

    def test_a_secret_is_rotated_and_the_webhook_deleted_by_its_address(self):
        page = self.sign_in(self.app.office, "/webhooks")
        secret = self.make(page)

        self.ask(page, "#act-rotate")
        page.click("#decide")
        page.wait_text("#webhook-secret", "whsec_")
        self.assertNotEqual(page.text("#webhook-secret"), secret)
        page.press("Escape")
        page.wait("document.querySelector('dialog[open]') === null")

        self.decide(page, "delete", typed="example.com")
        page.wait_text("#field-typed-fault", self.receiver.host)
        page.fill("#field-typed", self.receiver.host)
        page.click("#decide")
        page.wait_text("#page", "Nowhere yet.")
        self.assertEqual(page.text("#notice"), "The webhook is deleted.")
        actions = sql(f"SELECT string_agg(action, ', ' ORDER BY seq) FROM audit.entries WHERE app_id = '{self.app.id}'")
        self.assertEqual(actions, "webhook.create, webhook.rotate_secret, webhook.delete")

    def test_a_lost_answer_makes_no_second_webhook_and_still_shows_the_secret(self):
        page = self.sign_in(self.app.office, "/webhooks")
        page.expected.append("ERR_CONNECTION_RESET")
        page.lose("POST", "/webhooks")

        self.make(page)

        self.assertEqual(sql(f"SELECT count(*) FROM service.webhooks WHERE app_id = '{self.app.id}'"), "1")
