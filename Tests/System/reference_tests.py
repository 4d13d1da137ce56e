"""The API's reference in headless Chromium, and its commands in a shell; Tests/System/reference runs this."""

import datetime
import html.parser
import json
import os
import re
import subprocess
import unittest
import urllib.request
import uuid

from chromium import Browser
from setting import URL, App

AXE = os.environ["REFERENCE_AXE"]
# Elements that have no end.
VOID = {"meta", "link", "input", "br"}


def read(path):
    with urllib.request.urlopen(URL + path, timeout=30) as response:
        return response.read().decode()


class Reader(html.parser.HTMLParser):
    """Reads the page as a tree, and collects its commands by operation."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.commands, self.preparation = [], [], {}, ""
        self.article = self.pre = None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "article":
            self.article = attributes["id"]
        if tag == "pre":
            self.pre = attributes.get("class") or attributes.get("id")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")
        if tag == "pre":
            self.pre = None

    def handle_data(self, data):
        if self.pre == "curl":
            self.commands[self.article] = self.commands.get(self.article, "") + data
        elif self.pre == "preparation":
            self.preparation += data


class Scene:
    """An app with what the command of an operation needs, in the variables that the page names."""

    def __init__(self):
        self.app = App()
        self.office = self.app.office
        self.customer = self.app.customer(invoice=False)

    def write(self, method, path, body=None):
        answer = self.office.request(method, path, body, **{"idempotency-key": str(uuid.uuid4())})
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.body}"
        return json.loads(answer.body)

    def entry(self):
        """An entry that a signed checkpoint covers."""
        self.write("PATCH", f"/api/v0/customers/{self.customer}/status", {"status": "DEACTIVATED"})
        database = {**os.environ, "CUSTOMERD_MIGRATE_DATABASE_URL": os.environ["SERVICE_PSQL_URL"]}
        subprocess.run(
            [os.environ["SERVICE_CUSTOMERD"], "audit", "checkpoint", "--app", self.app.id,
             "--key", os.environ["REFERENCE_CHECKPOINT_KEY"]],
            check=True, capture_output=True, env=database)
        return self.app.entry(self.customer)[1]

    def prepare(self, operation):
        path = f"/api/v0/customers/{self.customer}"
        match operation:
            case "restoreCustomer":
                self.write("DELETE", path)
            case "unarchiveCustomer":
                self.write("POST", path + "/archive")
            case "getHold" | "releaseHold":
                self.write("PUT", path + "/hold", {"reason": "lawsuit"})
            case "getScheduledDeletion" | "cancelDeletion":
                tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
                self.write("PUT", path + "/scheduled-deletion", {"at": tomorrow.isoformat(timespec="seconds")})
            case "getCheckpoint":
                self.entry()

    def values(self, command):
        """The values of the variables that a command takes; what isn't taken isn't made."""
        makers = {
            "URL": lambda: URL,
            "CLIENT_KEY": lambda: self.office.client_key,
            "CLIENT_SECRET": lambda: self.office.secret,
            "CUSTOMER_ID": lambda: self.customer,
            "ENTRY_ID": self.entry,
            "WEBHOOK_ID": lambda: self.write("POST", "/api/v0/webhooks", {"url": "http://127.0.0.1:9/"})["id"],
            "BULK_ID": lambda: self.write("POST", "/api/v0/bulk-deletions", {"ids": [self.customer], "dry_run": True})["id"],
        }
        return {name: make() for name, make in makers.items() if f"${name}" in command}


class CommandTests(unittest.TestCase):
    def test_every_operation_has_a_command_that_works_as_it_is(self):
        reader = Reader()
        reader.feed(read("/reference"))
        operations = {
            operation["operationId"]: operation
            for item in json.loads(read("/openapi.json"))["paths"].values()
            for method, operation in item.items() if method != "parameters"
        }

        self.assertEqual(set(reader.commands), set(operations))
        for name, command in reader.commands.items():
            with self.subTest(name):
                scene = Scene()
                scene.prepare(name)
                values = "\n".join(f"{key}='{value}'" for key, value in scene.values(command).items())
                result = subprocess.run(
                    ["bash", "-euc", f"{reader.preparation}\n{values}\n{command}"],
                    capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(result.returncode, 0, result.stderr)
                head, _, body = result.stdout.partition("\n\n")
                status = re.match(r"HTTP/1\.1 (\d+)", head)[1]
                # The first that it describes is the one for success.
                self.assertEqual(status, next(iter(operations[name]["responses"])), f"{command}\n{body[:300]}")


class PageTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(os.environ["REFERENCE_CHROMIUM"])
        cls.addClassCleanup(cls.browser.close)

    def open(self, path="/reference", **options):
        """A page that must stay without an error, a violation of its policy, or a request for anything else."""
        page = self.browser.page(URL + path, **options)
        self.addCleanup(page.close)
        self.addCleanup(self.check, page)
        return page

    def check(self, page):
        self.assertEqual(page.errors, [])
        for url in page.requests:
            self.assertTrue(url.split("#")[0] in (URL + "/reference", "data:,"), url)

    def shown(self, page):
        """The operations that can be seen."""
        return page.evaluate(
            "[...document.querySelectorAll('article[data-words]')].filter((one) => one.checkVisibility()).map((one) => one.id)")

    def test_every_element_ends_where_it_should(self):
        reader = Reader()
        reader.feed(read("/reference"))

        self.assertEqual((reader.wrong, reader.open), ([], []))

    def test_axe_finds_nothing_in_anybody_s_way(self):
        # Colors are those of one style sheet: one of each kind of part shows them all.
        parts = ["header", "nav", "#introduction", "#deleteCustomer", "#createCustomer", "#receiveEvent", "#answer-NotDeleted",
                 "#headers", "#schema-Customer", "#schema-BulkItem"]
        for options in ({}, {"dark": True}, {"width": 320, "height": 640}):
            with self.subTest(**options):
                self.assertEqual(self.open(**options).violations(AXE, within=parts), [])
        self.assertEqual(self.open().violations(AXE, rules={"color-contrast": {"enabled": False}}), [])

    def test_it_fits_a_phone_and_a_wide_screen(self):
        for width in (320, 768, 1920):
            page = self.open(width=width)
            wide = page.evaluate(
                "[...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right >"
                " document.documentElement.clientWidth + 1).map((element) => element.outerHTML.slice(0, 120))")
            self.assertEqual(wide, [], width)
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width)

    def test_a_link_to_an_operation_leads_there(self):
        page = self.open("/reference#deleteCustomer")

        top = page.wait("scrollY > 0 && document.getElementById('deleteCustomer').getBoundingClientRect().top + 1")
        self.assertLess(abs(top - 1), 100)
        self.assertEqual(page.evaluate("document.querySelector(':target').id"), "deleteCustomer")

    def test_the_keyboard_reaches_the_text_at_once_and_the_filter(self):
        page = self.open()

        page.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.className"), "skip")
        page.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.name"), "filter")
        page.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.hash"), "#introduction")

    def test_the_filter_leaves_what_has_all_words_and_a_link_brings_everything_back(self):
        page = self.open()
        everything = self.shown(page)

        page.fill("input", "delete bulk")
        page.wait_text("#filter [role=status]", "operations")
        self.assertIn("deleteCustomers", self.shown(page))
        self.assertNotIn("getCustomer", self.shown(page))
        page.fill("input", "nothing at all")
        page.wait_text("#filter [role=status]", "0 operations")
        self.assertEqual(self.shown(page), [])
        self.assertEqual(page.violations(AXE), [])
        page.evaluate("location.hash = 'answer-NotFound'")
        page.wait("document.querySelector('input').value === ''")
        self.assertEqual(self.shown(page), everything)

        page.fill("input", "webhook")
        page.press("Escape")
        page.wait("!document.querySelector('#filter [role=status]').innerText")
        self.assertEqual(self.shown(page), everything)

    def test_the_commands_are_for_the_address_that_the_page_came_from(self):
        self.assertIn(f"URL={URL}\n", self.open().text("#preparation"))

    def test_without_javascript_it_is_all_there(self):
        page = self.open()
        with_script = self.shown(page)
        page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.open(URL + "/reference?again")
        page.requests.clear()

        self.assertIsNone(page.text("input"))
        self.assertEqual(self.shown(page), with_script)

    def test_on_paper_it_is_dark_on_light_and_complete(self):
        page = self.open(dark=True)
        page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])

        self.assertEqual(page.evaluate("getComputedStyle(document.body).color"), "rgb(29, 34, 38)")
        self.assertFalse(page.evaluate("document.querySelector('#filter').checkVisibility()"))
        self.assertEqual(len(self.shown(page)), len(set(self.shown(page))))
        self.assertGreater(len(page.call("Page.printToPDF")["data"]), 50_000)
