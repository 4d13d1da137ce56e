"""The page of a certificate in headless Chromium; Tests/System/certificate runs this."""

import base64
import html
import json
import os
import pathlib
import re
import unittest

from chromium import Browser

VECTORS = pathlib.Path(__file__).parents[1] / "Unit/AuditTrail/certificate_vectors.json"
PLACE = pathlib.Path(os.environ["CERTIFICATE_DIRECTORY"])
WITHOUT_ED25519 = """
    const real = SubtleCrypto.prototype.importKey;
    SubtleCrypto.prototype.importKey = function (...values) {
      if (values[2]?.name !== "Ed25519") return real.apply(this, values);
      globalThis.refused = (globalThis.refused ?? 0) + 1;
      return Promise.reject(new DOMException("Ed25519", "NotSupportedError"));
    };
"""


class CertificateTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(os.environ["CERTIFICATE_CHROMIUM"])
        cls.addClassCleanup(cls.browser.close)

    def open(self, name, script=None, **options):
        """A page from a file, which must stay without an error, a violation of its policy and a request."""
        page = self.browser.page("about:blank", **options)
        self.addCleanup(page.close)
        self.addCleanup(self.check, page, name)
        if script:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        page.open((PLACE / name).as_uri())
        page.wait("document.querySelector('#verdict').dataset.state !== 'unknown'")
        return page

    def check(self, page, name):
        self.assertEqual(page.errors, [])
        self.assertEqual([url for url in page.requests if url != "about:blank"], [(PLACE / name).as_uri()])

    def state(self, page):
        return page.evaluate("document.querySelector('#verdict').dataset.state")

    def changed(self, old, new, name="changed.html"):
        text = (PLACE / "disclosed.html").read_text()
        self.assertIn(old, text)
        (PLACE / name).write_text(text.replace(old, new, 1))
        return name

    def other_signature(self):
        """The signature under the checkpoint, and one that differs from it in a character."""
        start, character, rest = re.search(
            r"(\u2014 example\.com/trail .{40})(.)(.*?\\n)", (PLACE / "disclosed.html").read_text()
        ).groups()
        return start + character + rest, start + ("A" if character != "A" else "B") + rest

    def test_verifies_itself_and_shows_nothing_personal(self):
        page = self.open("certificate.html")
        self.assertEqual(self.state(page), "valid")
        shown = page.evaluate("document.body.innerText")
        for text in ("customer.delete · SUCCEEDED", "Back office", os.environ["CERTIFICATE_ENTRY"]):
            self.assertIn(text, shown)
        for text in ("Lovelace", "by letter", "192.0.2.17"):
            self.assertNotIn(text, (PLACE / "certificate.html").read_text())

    def test_shows_what_was_disclosed_as_text(self):
        page = self.open("disclosed.html")
        self.assertEqual(self.state(page), "valid")
        shown = page.text("#disclosed")
        for text in ("Zoë </script>", "asked <b>by</b> letter", "192.0.2.17", "{script} {certificate} {key}"):
            self.assertIn(text, shown)
        # A line for each member, and the digits that were hashed.
        self.assertIn('\n  "last_spent": 9999999999999999.99\n}', shown)
        self.assertIn("example.com/trail", page.text("#signing"))
        self.assertEqual(page.evaluate("document.querySelectorAll('#checks li').length"), 6)

    def test_verifies_where_the_browser_lacks_ed25519(self):
        page = self.open("disclosed.html", WITHOUT_ED25519)
        self.assertEqual((self.state(page), page.evaluate("globalThis.refused")), ("valid", 1))
        page = self.open(self.changed("\\n300\\n", "\\n301\\n", "plain.html"), WITHOUT_ED25519)
        self.assertEqual(self.state(page), "invalid")

    def test_finds_each_change(self):
        for index, (old, new) in enumerate([
            ('"actor_name":"Back office"', '"actor_name":"Front desk"'), ("asked \\u003cb>by", "asked \\u003cb>By"),
            ("192.0.2.17", "192.0.2.18"), ("\\nindex 42\\n", "\\nindex 43\\n"), ("\\n300\\n", "\\n301\\n"),
            ('"status_code":200', '"status_code":201'), self.other_signature(), ("certificate-v1", "certificate-v2"),
            ('"entry":{', '"x":"y","entry":{'), ('"entry":{', '"entry":{"x":"y",'), ('"subject":{', '"subject":{"x":"y",'),
            ("\\nindex 42\\n", "\\nextra AAAA\\nindex 42\\n"), ("\\n\\nexample.com", "\\n\\n\\nexample.com"),
        ]):
            page = self.open(self.changed(old, new, f"changed-{index}.html"))
            self.assertEqual(self.state(page), "invalid", old)

    def vectors(self):
        """What the programs judge alike: about what each is, the certificate, and whether the page has to call it valid. The
        page verifies no cosignatures."""
        vectors = json.loads(VECTORS.read_text())
        for case in vectors["cases"]:
            if case.get("around", "").startswith("<") or "cosign" in (case["verdict"]["reason"] or ""):
                continue
            text = vectors["certificate"]
            for old, new in case.get("replace", []):
                text = text.replace(old, new)
            yield case["about"], case.get("around", "{certificate}").replace("{certificate}", text), case["verdict"]["verified"]

    def test_agrees_with_both_programs(self):
        key = html.escape(json.loads(VECTORS.read_text())["public_key"])
        page = (PLACE / "certificate.html").read_text()
        before, rest = re.split('(?<=<script type="application/json" id="certificate">)', page)
        before = re.sub("(<textarea[^>]*>)[^<]*", lambda match: match[1] + key, before)
        judged = list(self.vectors())
        for index, (about, text, verified) in enumerate(judged):
            with self.subTest(about):
                block = text.replace("<", "\\u003c")
                (PLACE / f"vector-{index}.html").write_text(before + block + rest[rest.index("</script>"):])
                page = self.open(f"vector-{index}.html")
                self.assertEqual(self.state(page), "valid" if verified else "invalid")
                # Not so many pages at once.
                self.doCleanups()
        self.assertGreater(len(judged), 80)

    def test_wants_the_key_that_its_reader_knows(self):
        page = self.open("certificate.html")
        page.fill("#key", "example.com/trail+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        page.wait("document.querySelector('#verdict').dataset.state === 'invalid'")
        page.fill("#key", os.environ["CERTIFICATE_KEY"])
        page.wait("document.querySelector('#verdict').dataset.state === 'valid'")

    def test_prints_on_few_pages(self):
        page = self.open("disclosed.html")
        printed = base64.b64decode(page.call("Page.printToPDF")["data"])
        self.assertTrue(printed.startswith(b"%PDF"))
        self.assertIn(printed.count(b"/Type /Page\n"), (1, 2, 3))

    def test_fits_a_phone(self):
        page = self.open("disclosed.html", width=390, height=844)
        self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 390)

    @unittest.skipUnless("CERTIFICATE_SCREENSHOT" in os.environ, "only when asked for")
    def test_screenshot(self):
        page = self.open("certificate.html", width=900, height=1150)
        page.screenshot(os.environ["CERTIFICATE_SCREENSHOT"])
