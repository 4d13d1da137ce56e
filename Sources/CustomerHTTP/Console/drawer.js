// One entry, in full.

import { canCompute, hashHolds } from "./chain.js";
import { open } from "./dialog.js";
import { badge, byID, definitions, facts as list, make, moment, mono, value } from "./document.js";
import { members } from "./json.js";
import { attempts, groupOf, meaning } from "./outcomes.js";
import { link } from "./router.js";

export class Drawer {
  #dialog = byID("entry");
  #filter;
  #onClose;
  entry = null;

  /**
   * @param {function(): boolean} onClose - puts the focus somewhere, or returns false
   * @param {function(object): string} filter - where a filter leads
   */
  constructor(onClose, filter) {
    this.#filter = filter;
    byID("entry-close").addEventListener("click", () => this.#dialog.close());
    this.#onClose = onClose;
    this.#dialog.addEventListener("close", () => { this.entry = null; });
    // A click on the backdrop is one on the dialog itself.
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
  }

  get isOpen() {
    return this.#dialog.open;
  }

  close() {
    this.#dialog.close();
  }

  /**
   * @param {object} entry
   * @param {object|null} before - the entry below it in the chain, if it is known
   */
  show(entry, before, { hasNewer, hasOlder, mayReadCustomers }) {
    this.entry = entry;
    byID("entry-title").textContent = `Entry ${entry.seq}`;
    byID("entry-newer").disabled = !hasNewer;
    byID("entry-older").disabled = !hasOlder;
    byID("entry-body").replaceChildren(...this.#sections(entry, before, mayReadCustomers).filter(Boolean));
    if (this.#dialog.open) byID("entry-title").focus();
    else open(this.#dialog, byID("entry-title"), this.#onClose);
    this.#dialog.scrollTop = 0;
  }

  #sections(entry, before, mayReadCustomers) {
    const folded = attempts(entry);
    return [
      make("p", { class: "lead" },
        badge(entry.outcome, groupOf(entry.outcome)), " ",
        make("strong", {}, entry.action), folded > 1 ? ` × ${folded}` : null, make("br"), value(meaning(entry))),
      facts("What", [
        ["occurred", moment(entry.occurred_at)],
        ["recorded", moment(entry.recorded_at)],
        ["status", entry.status_code ?? "none: there was no answer"],
        ["error", entry.error_code],
        ["SQLSTATE", entry.sqlstate],
        ["constraint", entry.constraint_name],
        ["table", entry.referencing_table],
        ["message", entry.error_message],
      ]),
      facts("Who", [
        ["key", entry.actor_name && make("a", { href: this.#filter({ actor: entry.actor_name }) }, value(entry.actor_name))],
        ["client key", mono(entry.actor_client_key)],
        ["role", entry.actor_role],
        ["claims to act for", entry.actor_claimed],
        ["claimed reason", entry.reason],
        ["address", mono(entry.ip)],
        ["user agent", entry.user_agent],
      ]),
      facts("Customer", [
        ["id", entry.customer_id
          && make("a", { class: "mono", href: this.#filter({ customer_id: entry.customer_id }) }, entry.customer_id)],
        ["page", entry.customer_id && mayReadCustomers
          ? make("a", { href: link(`/customers/${entry.customer_id}`) }, "The customer") : null],
      ]),
      entry.before_image === null ? null : facts("The record before", lines(entry.text.get("before_image"))),
      entry.request === null ? null : facts("Request", [
        ["id", mono(entry.request_id)],
        ["idempotency key", mono(entry.idempotency_key)],
        ...lines(entry.text.get("request"), ["method", "path", "query", "headers"]),
      ]),
      this.#chain(entry, before),
      make("p", { class: "actions" }, make("a", { class: "button", id: "to-certificate", href: link(`/entries/${entry.id}/certificate`) }, "Certificate"), make("button", {
        type: "button", class: "quiet",
        click: async (event) => {
          const button = event.currentTarget;
          try {
            // There is no clipboard for pages that weren't loaded over https.
            await navigator.clipboard.writeText(entry.source);
            button.textContent = "Copied";
          } catch {
            button.textContent = "The browser refused to copy";
          }
        },
      }, "Copy as JSON")),
    ];
  }

  #chain(entry, before) {
    const verdict = make("dd", { id: "entry-hash-verdict" },
      canCompute() ? "computing …" : "can't be computed: this page wasn't loaded over https");
    if (canCompute()) {
      hashHolds(entry).then((holds) => {
        verdict.className = holds ? "good" : "bad";
        verdict.textContent = holds ? "the hash is that of the columns" : "the hash isn't that of the columns";
      });
    }
    const follows = before === null
      ? entry.seq === 1 ? "the first of its chain" : `entry ${entry.seq - 1} isn't loaded`
      : before.hash === entry.previous_hash
        ? `follows entry ${before.seq}` : `doesn't follow entry ${before.seq}: one of them was replaced`;
    const isBad = before !== null && before.hash !== entry.previous_hash;
    return section("Chain", make("dl", {},
      make("dt", {}, "position"), make("dd", {}, entry.seq),
      make("dt", {}, "app"), make("dd", { class: "mono" }, entry.app_id),
      make("dt", {}, "entry"), make("dd", { class: "mono" }, entry.id),
      make("dt", {}, "link"), make("dd", { class: isBad ? "bad" : "" }, follows),
      make("dt", {}, "computed"), verdict,
      ["previous_hash", "hash", "subject_commitment", "context_commitment"].map((name) => [
        make("dt", {}, name.replace("_", " ")), make("dd", { class: "mono hash" }, entry[name]),
      ]).flat()));
  }
}

const section = (title, ...children) => make("section", {}, make("h3", {}, title), ...children);

/** A section of names and values, without those that are null; nothing if all are. */
function facts(title, pairs) {
  const given = list(pairs);
  return given && section(title, given);
}

/** The members of an object as they were written, down to the last digit. */
function lines(text, first = []) {
  const all = members(text);
  const names = [...first.filter((name) => all.has(name)), ...[...all.keys()].filter((name) => !first.includes(name))];
  return names.map((name) => [name, written(all.get(name))]);
}

function written(text) {
  if (text.startsWith('"')) return JSON.parse(text);
  if (text === "null") return make("span", { class: "dim" }, "null");
  if (text.startsWith("{")) {
    return make("dl", { class: "inner" }, definitions(lines(text)));
  }
  return text;
}
