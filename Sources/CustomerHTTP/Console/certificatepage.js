// A certificate of one entry, to look at, to print and to hand out.

import { badge, button, byID, card, facts, fill, make, moment, mono, value } from "./document.js";
import { save } from "./download.js";
import { groupOf, meaning } from "./outcomes.js";
import { link } from "./router.js";
import { PARTS as COLUMNS, canVerify, verdicts } from "./verify.js";

const PARTS = { subject: "personal data: the record before, the reason, the message", context: "who and from where: actor, address, user agent, request" };

export const certificate = {
  path: "/entries/:id/certificate",
  title: "Certificate",
  needs: ["audit:read"],
  parent: "/trail",

  async show({ session, place, id, query, signal }) {
    const disclosed = (query.get("disclose") ?? "").split(",").filter((part) => part in PARTS);
    const path = `/api/v0/audit/${id}`;
    const back = make("p", { class: "back" }, make("a", { href: link("/trail", { entry: id }) }, "The entry"));
    const found = await session.api.find(`${path}/certificate`, { disclose: disclosed.join(",") }, signal);
    if (!found) {
      return fill(place, back, make("h1", { tabindex: -1 }, "Certificate"), make("div", { class: "card" },
        make("p", {}, "There is no certificate of this entry yet, or no such entry."),
        make("p", {}, "A certificate needs a signed checkpoint that covers the entry. The operator makes one with ",
          make("code", {}, "customerd audit checkpoint"), ", usually every hour. Look again later.")));
    }
    const certified = JSON.parse(found.text);
    const { entry } = certified;
    const choose = (part) => make("label", { class: "check" }, make("input", {
      type: "checkbox", id: `disclose-${part}`, checked: disclosed.includes(part),
      change: (event) => {
        const parts = Object.keys(PARTS).filter((each) => each === part ? event.target.checked : disclosed.includes(each));
        location.hash = link(`/entries/${id}/certificate`, { disclose: parts.join(",") });
      },
    }), `Disclose ${PARTS[part]}`);

    fill(place,
      make("div", { class: "no-print stack" }, back,
        make("div", { class: "card" },
          make("div", { class: "choices" }, Object.keys(PARTS).map(choose)),
          make("div", { class: "actions" },
            button("Print", () => print(), { id: "print", class: "primary" }),
            button("Save the certificate", () => save(`certificate-${id}.json`, found.text, "application/json"), { id: "save-certificate" }),
            button("Save the proof", async () => {
              try {
                save(`proof-${id}.tlog-proof`, (await session.api.read(`${path}/proof`, {}, signal)).text, "text/plain");
              } catch (error) {
                session.report(error);
              }
            }, { id: "save-proof" })))),
      make("article", { class: "certificate stack", "aria-labelledby": "certificate-title" },
        make("div", { class: "card" },
          make("p", { class: "dim" }, "Certificate of an entry of the audit trail"),
          make("h1", { tabindex: -1, id: "certificate-title" }, entry.action, " ", badge(entry.outcome, groupOf(entry.outcome))),
          make("p", {}, value(meaning({ ...entry, error_message: certified.disclosed.subject?.error_message ?? entry.error_code }))),
          facts([
            ["customer", mono(entry.customer_id)], ["occurred", moment(entry.occurred_at)], ["recorded", moment(entry.recorded_at)],
            ["by the API key", entry.actor_name], ["role", entry.actor_role], ["client key", mono(entry.actor_client_key)],
            ["HTTP status", entry.status_code], ["refused by", entry.referencing_table && `${entry.referencing_table} (${entry.constraint_name})`],
            ["request", mono(entry.request_id)], ["entry", mono(entry.id)], ["app", mono(entry.app_id)],
            ["position in the trail", entry.seq], ["hash", mono(certified.hash)],
          ])),
        Object.keys(PARTS).filter((part) => certified.disclosed[part]).map((part) => card(`Disclosed: ${part}`, facts(
          COLUMNS[part].map((name) => [name.replace(/_/g, " "), certified.disclosed[part][name]])))),
        card("Proof",
          make("div", { id: "certificate-verdict", role: "status" }, make("p", {}, canVerify() ? "Computing …" : "It can't be computed here: this page wasn't loaded over https.")),
          make("pre", { tabindex: 0, "aria-label": "The proof" }, certified.proof)),
        make("p", { class: "dim" }, "It proves that this entry, unchanged, is in the trail that was signed; not that the entry is true. Verify it without this page: ",
          make("code", {}, "customerd audit verify --certificate FILE --public-key KEY"), ".")));
    if (!canVerify()) return;
    // Without its signature: this page has no public key but from the service itself.
    const results = await verdicts(found.text, null);
    fill(byID("certificate-verdict"), make("ul", {}, results.map(({ sentence, holds, reason }) => make("li", { class: holds ? "good" : "bad" },
      holds ? `✓ ${sentence}` : `✗ Not so: ${sentence}${reason ? ` (${reason})` : ""}`))));
  },
};
