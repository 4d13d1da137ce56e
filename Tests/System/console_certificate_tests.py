"""Certificates and proofs in the desk; Tests/System/console runs this."""

import json

from console_case import H1, ConsoleCase, sign_checkpoints
from setting import App, Key


class CertificateTests(ConsoleCase):
    def certified(self):
        """An app with a signed trail, a deletion in it, and the deletion's entry."""
        app = App()
        customer = app.customer("Ada", "Lovelace")
        app.office.delete(customer, x_audit_reason="Asked to be forgotten")
        _, entry = app.entry(customer)
        return app, entry

    def test_an_auditor_opens_verifies_discloses_and_saves_a_certificate(self):
        app, entry = self.certified()
        sign_checkpoints()
        page = self.sign_in(app.auditor, f"/trail?entry={entry}")
        page.wait_text("#entry-title", "Entry 1")

        page.click("#to-certificate")
        page.wait_text(H1, "customer.delete SUCCEEDED")
        page.wait_text("#certificate-verdict", "✓ The proof leads from the entry to the root of the checkpoint.")
        self.assertIn("✓ The hash of the entry is that of its members.", page.text("#certificate-verdict"))
        self.assertNotIn("Not so", page.text("#certificate-verdict"))
        self.assertNotIn("Ada", page.text("#page"))

        page.click("#disclose-subject")
        page.wait_text("#page", "Asked to be forgotten")
        page.wait_text("#certificate-verdict", "✓ The disclosed subject is what the entry committed to.")
        page.click("#disclose-subject")
        page.wait("!document.querySelector('#page').innerText.includes('Asked to be forgotten')")

        page.click("#save-certificate")
        certificate = json.loads(self.saved().read_text())
        self.assertEqual(certificate["format"], "customerd-certificate-v1")
        self.assertEqual((certificate["entry"]["id"], certificate["disclosed"]), (entry, {}))
        self.saved().unlink()
        page.click("#save-proof")
        self.assertTrue(self.saved().read_text().startswith("c2sp.org/tlog-proof@v1\n"))

    def test_it_prints_without_what_is_around_it(self):
        app, entry = self.certified()
        sign_checkpoints()
        page = self.sign_in(app.auditor, f"/entries/{entry}/certificate")
        page.wait_text("#certificate-verdict", "✓ The proof leads")

        page.call("Emulation.setEmulatedMedia", media="print")

        shown = page.evaluate("[...document.querySelectorAll('.bar, .no-print, #print, #menu')].filter((element) => element.checkVisibility()).length")
        self.assertEqual(shown, 0)
        self.assertTrue(page.evaluate("document.querySelector('.certificate pre').scrollHeight <= document.querySelector('.certificate pre').clientHeight + 1"))
        page.evaluate("window.print = () => { document.body.dataset.printed = 'yes'; }")
        page.call("Emulation.setEmulatedMedia", media="")
        page.click("#print")
        page.wait("document.body.dataset.printed === 'yes'")

    def test_an_entry_that_nothing_covers_yet_says_what_to_do(self):
        app, entry = self.certified()
        page = self.sign_in(app.auditor, f"/entries/{entry}/certificate")
        page.wait_text("#page", "A certificate needs a signed checkpoint that covers the entry.")

    def test_a_viewer_sees_none(self):
        app, entry = self.certified()
        page = self.sign_in(Key(app.id, "viewer", "front desk"), f"/entries/{entry}/certificate")
        page.wait_text(H1, "Nothing here")
