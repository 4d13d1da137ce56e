// The list of attempts: a row each, newest first.

import { badge, byID, clock, make, value } from "./document.js";
import { attempts, groupOf } from "./outcomes.js";

export class List {
  #link;

  /** @param {function(object): string} link - where an entry's row leads */
  constructor(link) {
    this.#link = link;
  }

  reset(entries) {
    byID("entries").replaceChildren(...entries.map((entry) => this.#row(entry)));
  }

  older(entries) {
    byID("entries").append(...entries.map((entry) => this.#row(entry)));
  }

  newer(entries) {
    byID("entries").prepend(...entries.map((entry) => this.#row(entry, "fresh")));
  }

  /** Moves the focus by so many rows; to the first one from elsewhere. */
  move(step) {
    const rows = [...byID("entries").querySelectorAll("a")];
    const now = rows.indexOf(document.activeElement);
    const next = rows[now < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, now + step))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** Returns whether there is such a row. */
  focus(id) {
    const row = byID(`row-${id}`);
    row?.focus();
    return row !== null;
  }

  #row(entry, kind = "") {
    return entryRow(entry, this.#link(entry), kind);
  }
}

/** An entry of the trail as a line of a list. */
export function entryRow(entry, href, kind = "") {
  const folded = attempts(entry);
  const person = entry.before_image
    ? [entry.before_image.first_name, entry.before_image.last_name].filter(Boolean).join(" ") : "";
  return make("li", { class: kind },
    make("a", { href, id: `row-${entry.id}` },
      make("span", { class: "seq" }, entry.seq),
      make("time", { datetime: entry.occurred_at }, clock(entry.occurred_at)),
      make("span", { class: "outcome" }, badge(entry.outcome, groupOf(entry.outcome)), folded > 1 ? ` × ${folded}` : null),
      make("span", { class: "action" }, entry.action),
      make("span", { class: "customer" }, person ? value(person) : make("span", { class: "mono" }, entry.customer_id ?? "—")),
      make("span", { class: "actor" }, value(entry.actor_name ?? entry.actor_client_key ?? "unknown"),
        entry.actor_claimed === null ? null : make("span", { class: "dim" }, " for ", value(entry.actor_claimed)))));
}
