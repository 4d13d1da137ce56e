"""What the tests of the desk have in common: a browser, signing in, and what must hold on every page."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest
import uuid

from chromium import Browser
from setting import URL, Key

AXE = os.environ["CONSOLE_AXE"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# The heading of the page that is shown.
H1 = "main h1:not([hidden] *)"
ROLES = ("viewer", "editor", "auditor", "admin")


class ConsoleCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(os.environ["CONSOLE_CHROMIUM"])
        cls.addClassCleanup(cls.browser.close)

    # --- pages -------------------------------------------------------------------------------------------------------

    def open(self, path="/console", **options):
        """A page that must stay without an error, a violation of its policy, a foreign request or a secret in a URL."""
        self.downloads = tempfile.mkdtemp(dir=os.environ["CONSOLE_DOWNLOADS"])
        self.addCleanup(shutil.rmtree, self.downloads)
        page = self.browser.page(URL + path, downloads=self.downloads, **options)
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
            # Chromium draws the buttons of a date field that way, and what is saved is a blob of the page itself.
            self.assertTrue(url.startswith((URL + "/", "data:image/svg+xml;", f"blob:{URL}/")), url)
            self.assertNotIn("cs_", url)

    def enter(self, page, key, secret=None, actor=None):
        page.wait("document.activeElement?.id === 'client-key'")
        page.fill("#client-key", key.client_key)
        page.fill("#client-secret", secret or key.secret)
        if actor:
            page.fill("#actor-name", actor)
        page.press("Enter")

    def sign_in(self, key, path="", actor=None, **options):
        """A page of the desk; path is what the address asks for, such as /customers."""
        page = self.open(f"/console#{path}" if path else "/console", **options)
        # What isn't there is logged by the browser.
        page.expected.append("404")
        self.enter(page, key, actor=actor)
        page.wait(f"document.querySelector('{H1}') && document.activeElement !== document.body"
                  " && document.querySelector('#login').hidden && !document.querySelector('#menu').hidden")
        return page

    def customer_page(self, key, customer, **options):
        page = self.sign_in(key, f"/customers/{customer}", **options)
        page.wait("document.querySelector('#page .columns-2') !== null")
        return page

    def go(self, page, path):
        page.evaluate(f"location.hash = {json.dumps('#' + path)}")

    # --- decisions ---------------------------------------------------------------------------------------------------

    def ask(self, page, selector):
        """Clicks on what asks for a decision, and waits for its fields."""
        page.click(selector)
        page.wait("document.querySelector('dialog.sheet .decision')?.checkVisibility()")

    def decide(self, page, action, reason="Ticket 4711", typed=None):
        """Opens the dialog of an action, says why, types what is to be typed, and sends it."""
        self.ask(page, f"#act-{action}")
        if reason and page.evaluate("document.querySelector('#field-reason') !== null"):
            page.fill("#field-reason", reason)
        if typed:
            page.fill("#field-typed", typed)
        page.click("#decide")

    def wait_done(self, page, sentence):
        page.wait_text("#notice", sentence)
        page.wait("document.querySelector('dialog[open]') === null")

    def actions(self, page):
        return page.evaluate("[...document.querySelectorAll('[id^=act-]')].map((button) => button.id.slice(4))")

    def saved(self, within=20):
        """The one file that the page has saved."""
        deadline = time.monotonic() + within
        while True:
            files = [file for file in pathlib.Path(self.downloads).iterdir() if file.suffix != ".crdownload"]
            if files:
                return files[0]
            self.assertLess(time.monotonic(), deadline, "no file was saved")
            time.sleep(0.05)

    # --- what must hold ----------------------------------------------------------------------------------------------

    def assert_accessible(self, page, state=""):
        """axe-core finds no violation."""
        self.assertEqual(page.violations(AXE, runOnly={"type": "tag", "values": RULES}), [], state)

    def assert_fits(self, page, state=""):
        """Nothing is wider than the screen."""
        wide = page.evaluate(
            "[...document.querySelectorAll('body *')].filter((element) => !element.closest('.scroll, .sr, svg, thead')"
            " && element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)"
            ".map((element) => element.outerHTML.slice(0, 120))"
        )
        self.assertEqual(wide, [], state)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), page.evaluate("innerWidth"), state)


def narrow_key(app, role, name, permissions):
    """A key with some of the permissions of its role."""
    made = subprocess.run(
        [os.environ["SERVICE_CUSTOMERD"], "keys", "create", "--app", app.id, "--role", role, "--name", name, "--json",
         *(part for permission in permissions for part in ("--permission", permission))],
        check=True, capture_output=True, text=True, env={**os.environ, "DATABASE_URL": os.environ["SERVICE_PSQL_URL"]})
    made = json.loads(made.stdout)
    key = Key.__new__(Key)
    key.app, key.name, key.client_key, key.secret = app.id, name, made["client_key"], made["client_secret"]
    return key


def sign_checkpoints():
    """Signs what the chains have now."""
    subprocess.run([os.environ["SERVICE_CUSTOMERD"], "audit", "checkpoint", "--key", os.environ["CONSOLE_SIGNING_KEY"]],
                   check=True, capture_output=True, env={**os.environ, "DATABASE_URL": os.environ["SERVICE_PSQL_URL"]})


def write(key, method, path, body=None):
    """Asks for a write beside the page."""
    answer = key.request(method, path, body, **{"idempotency-key": str(uuid.uuid4())})
    assert answer.status < 300, answer
    return answer
