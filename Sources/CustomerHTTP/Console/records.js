// What the API answers about customers, with numbers to the last digit, and how it is shown.

import { badge, facts, make, moment, mono, plain, isPiled, value } from "./document.js";
import { kept, members, parts } from "./json.js";

/** A record from its text. */
export const record = (text) => kept(text);

/** A page of a list: its records, and how many there are in all. */
export function listed(text) {
  const page = members(text);
  return {
    records: parts(page.get("data")).map(([, each]) => kept(each)),
    total: JSON.parse(page.get("total") ?? "null"),
    next: JSON.parse(page.get("next_cursor") ?? "null"),
  };
}

/** First and last name in one. */
export const nameOf = ({ first_name: first, last_name: last }) => [first, last].filter(Boolean).join(" ");

/** The name of a customer as an element, or its id if it has none. */
export const named = (customer, id = customer?.id) => {
  const name = customer ? nameOf(customer) : "";
  return name ? value(name, { class: "name" }) : mono(id);
};

/**
 * What is typed to confirm: the name, unless it can't be typed; then the beginning of the id.
 * @returns {{text: string, what: string}}
 */
export function toType(customer, id) {
  const name = customer ? plain(nameOf(customer)) : "";
  return name && !isPiled(name) && name !== "[redacted]"
    ? { text: name, what: "the name" } : { text: id.slice(0, 8), what: "the first eight characters of the id" };
}

const HUES = { ACTIVE: "done", BLACKLISTED: "failed", DEACTIVATED: "nothing" };

export const status = (word) => badge(word, HUES[word] ?? "nothing");

/** Everything that a record has. */
export const details = (customer) => facts([
  ["first name", customer.first_name], ["last name", customer.last_name], ["email", customer.email],
  ["phone", customer.phone_number], ["status", status(customer.status)], ["type", customer.customer_type],
  ["last spent", customer.last_spent === null ? null : customer.text.get("last_spent")],
  ["last purchase", moment(customer.last_purchase_date)],
  ["created", moment(customer.createdAt)], ["updated", moment(customer.updatedAt)],
  ["id", mono(customer.id)],
]);

/** The tables that the API lists, by their names in the database: what a row is called, where the list is, what to show of it. */
export const DEPENDENTS = {
  invoices: { one: "invoice", many: "invoices", path: "invoices", columns: ["invoice_number", "status", "amount", "currency", "due_date", "createdAt"] },
  payment_links: { one: "payment link", many: "payment links", path: "payment-links", columns: ["url", "status", "amount", "currency", "expires_at", "createdAt"] },
  transactions: { one: "transaction", many: "transactions", path: "transactions", columns: ["kind", "status", "amount", "currency", "occurred_at"] },
  liquidation_addresses: { one: "liquidation address", many: "liquidation addresses", path: "liquidation-addresses", columns: ["chain", "currency", "address", "createdAt"] },
  legal_holds: { one: "hold", many: "holds" },
};

/** How many rows of what: one blocker of a deletion in words. */
function counted({ table, count, constraint }) {
  const known = DEPENDENTS[table];
  const what = known ? (count === 1 ? known.one : known.many) : null;
  return make("li", {},
    count === null ? "some " : `${count.toLocaleString("en")} `,
    what ?? value(`${count === 1 ? "row" : "rows"} of ${table}`),
    make("span", { class: "dim" }, " (", value(constraint, { class: "mono" }), ")"));
}

/** What a deletion would do, from the deletion check. */
export function outlook({ deletable, blockers, cascades }) {
  const nodes = [];
  if (deletable) {
    nodes.push(make("p", { class: "good" }, "It can be deleted: nothing stands in the way."));
  } else {
    nodes.push(make("p", { class: "bad" }, blockers.length > 0
      ? "It can't be deleted. These refer to the customer:" : "It can't be deleted: a rule of the database prevents it."));
    if (blockers.length > 0) nodes.push(make("ul", { class: "bullets" }, blockers.map(counted)));
  }
  if (cascades.length > 0) {
    nodes.push(make("p", {}, deletable ? "These would be deleted or changed along with it:" : "A deletion would also delete or change:"),
      make("ul", { class: "bullets" }, cascades.map(counted)));
  }
  return nodes;
}

/** Whether a deletion check names a hold. */
export const isHeld = (check) => check.blockers.some(({ constraint }) => constraint === "legal_holds_keep_a_customer");
