// The page on which a customer is found. Search terms aren't written into the address: browsers keep addresses.

import { button, card, fill, make, moment, value } from "./document.js";
import { listed, named, status } from "./records.js";
import { link } from "./router.js";

const PAGE = 20;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** What kind of search term a text is: the page has one field for all kinds. */
export function kindOf(text) {
  if (UUID.test(text)) return "id";
  if (text.includes("@")) return "email";
  if (/^[\d\s()+./-]*\d[\d\s()+./-]*$/.test(text)) return "phone";
  return "name";
}

const KINDS = { id: "id", email: "email address", phone: "phone number", name: "name" };

export const customers = {
  path: "/customers",
  title: "Customers",
  needs: ["customers:read"],

  async show({ session, place, signal }) {
    const search = session.memory.search ??= { text: "", status: "", archived: "", skip: 0 };
    const results = make("div", { id: "results" });
    const kind = make("span", { class: "hint", id: "search-kind" });
    const text = make("input", {
      id: "search", type: "search", value: search.text, autocomplete: "off", autocapitalize: "none", spellcheck: "false",
      maxlength: 300, "aria-describedby": "search-kind", input: describe,
    });
    const choice = make("select", { id: "search-status" },
      [["", "any"], ["ACTIVE", "active"], ["BLACKLISTED", "blacklisted"], ["DEACTIVATED", "deactivated"]].map(([key, label]) =>
        make("option", { value: key, selected: key === search.status }, label)));
    const archived = make("input", { type: "checkbox", id: "search-archived", checked: search.archived === "true" });

    fill(place,
      make("h1", { tabindex: -1 }, "Customers"),
      make("form", { class: "card search", role: "search", submit: onSubmit },
        make("p", { class: "what" }, make("label", { for: "search" }, "Name, email, phone number or id"), text, kind),
        make("p", {}, make("label", { for: "search-status" }, "Status"), choice),
        make("label", { class: "check" }, archived, "archived ones"),
        make("div", { class: "actions" }, make("button", { type: "submit", class: "primary" }, "Find"))),
      results);
    describe();
    await look();

    function describe() {
      const given = text.value.trim();
      kind.replaceChildren(given === "" ? "Empty: the newest ones" : `Looks for it as ${KINDS[kindOf(given)]}`);
    }

    function onSubmit(event) {
      event.preventDefault();
      Object.assign(search, { text: text.value.trim(), status: choice.value, archived: archived.checked ? "true" : "", skip: 0 });
      // One that is named by its id is shown, in use, archived or deleted.
      if (kindOf(search.text) === "id") {
        location.hash = link(`/customers/${search.text.toLowerCase()}`);
        return;
      }
      look().catch(session.report);
    }

    async function look(skip = 0) {
      const given = kindOf(search.text) === "id" ? "" : search.text;
      const { text: answer } = await session.api.read("/api/v0/customers", {
        ...(given && { [kindOf(given)]: given }), status: search.status, archived: search.archived, take: PAGE, skip,
      }, signal);
      const { records, total } = listed(answer);
      search.skip = skip;
      const found = total === 0 ? "No customer is like that." : total === 1 ? "One customer."
        : `${total.toLocaleString("en")} customers${total > PAGE ? `, ${(skip + 1).toLocaleString("en")} to ${(skip + records.length).toLocaleString("en")}` : ""}, newest first.`;
      fill(results, card("Found",
        make("p", { class: "dim", id: "found", role: "status" }, found),
        total === 0 ? make("p", {}, "A customer that was deleted is found by its id alone, as long as the audit trail has it.") : null,
        records.length > 0 ? make("ul", { class: "people" }, records.map(row)) : null,
        total > PAGE ? make("div", { class: "actions" },
          button("Newer", () => look(skip - PAGE).catch(session.report), { id: "newer", disabled: skip === 0 }),
          button("Older", () => look(skip + PAGE).catch(session.report), {
            id: "older-customers", disabled: skip + PAGE >= total || skip + PAGE > 10_000,
          })) : null));
    }
  },
};

const row = (customer) => make("li", {}, make("a", { href: link(`/customers/${customer.id}`), id: `customer-${customer.id}` },
  make("span", { class: "who" }, named(customer)),
  make("span", { class: "outcome" }, status(customer.status)),
  make("span", { class: "email" }, value(customer.email ?? "no email")),
  make("span", { class: "phone" }, value(customer.phone_number || "no phone")),
  make("span", { class: "type dim" }, customer.customer_type),
  make("span", { class: "dim" }, moment(customer.createdAt))));
