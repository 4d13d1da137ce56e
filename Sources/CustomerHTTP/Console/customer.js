// The page of one customer: the record, what refers to it, what would happen on deletion, what can be done, and its history.

import { actionsOn, lastKnown } from "./actions.js";
import { decide } from "./decision.js";
import { badge, button, card, facts, fill, make, moment, mono, table, value } from "./document.js";
import { kept } from "./json.js";
import { entryRow } from "./list.js";
import { DEPENDENTS, details, isHeld, listed, named, outlook, record, status } from "./records.js";
import { link } from "./router.js";
import { entries } from "./trail.js";

const HISTORY = 20;
const LISTED = 10;

export const customer = {
  path: "/customers/:id",
  title: "Customer",
  needs: ["customers:read"],
  parent: "/customers",

  async show({ session, place, id, signal }) {
    // What was decided here may end when another page is shown.
    signal.throwIfAborted();
    if (place.dataset.customer !== id) fill(place, make("h1", { tabindex: -1 }, "Customer"), make("p", { class: "dim" }, "Loading …"));
    place.dataset.customer = id;
    const reload = () => this.show({ session, place, id, signal }).catch(session.report);
    const now = await load(session, id, signal);
    const open = (action) => decide(session, {
      ...action, reload,
      done(answer, values) {
        session.say(action.told(answer, values));
        reload();
      },
    });
    fill(place, heading(now), notes(now), make("div", { class: "columns-2" },
      make("div", { class: "column" }, recordCard(now), now.check && outlookCard(now)),
      make("div", { class: "column side" }, actionsCard(actionsOn(session, now), now, open)),
      make("div", { class: "column" }, now.record && recordsCard(session, now, signal), historyCard(session, now, signal))));
  },
};

/** Everything that the page shows, as it is now. */
async function load(session, id, signal) {
  const { api } = session;
  const path = `/api/v0/customers/${id}`;
  const mayRead = session.may("audit:read");
  const [found, check, schedule, archived, history] = await Promise.all([
    api.find(path, {}, signal),
    api.find(`${path}/deletion-check`, {}, signal),
    api.find(`${path}/scheduled-deletion`, {}, signal),
    api.read("/api/v0/customers", { id, archived: true, take: 1 }, signal),
    mayRead ? entries(api, { customer_id: id, limit: HISTORY }, signal) : null,
  ]);
  const parsed = check && JSON.parse(check.text);
  const hold = parsed && isHeld(parsed) ? await api.find(`${path}/hold`, {}, signal) : null;
  return {
    id,
    record: found && record(found.text),
    etag: found?.etag ?? null,
    check: parsed,
    schedule: schedule && JSON.parse(schedule.text),
    isArchived: listed(archived.text).total > 0,
    hold: hold && kept(hold.text),
    history,
    last: history && lastKnown(history.entries),
    deletion: history?.entries.find(({ action, outcome }) => action === "customer.delete" && outcome === "SUCCEEDED") ?? null,
  };
}

const isKnown = ({ record, history }) => record !== null || history === null || history.entries.length > 0;

function heading(now) {
  const { record, last, isArchived, hold, schedule } = now;
  return make("div", { class: "title" },
    make("p", { class: "back" }, make("a", { href: link("/customers") }, "Customers")),
    make("h1", { tabindex: -1 }, named(record ?? last, now.id)),
    make("p", { class: "badges" },
      record ? status(record.status) : badge(isKnown(now) ? "DELETED" : "UNKNOWN", "nothing"),
      isArchived ? [" ", badge("ARCHIVED", "nothing")] : null,
      hold ? [" ", badge("ON HOLD", "refused")] : null,
      schedule?.status === "SCHEDULED" ? [" ", badge("DELETION SCHEDULED", "denied")] : null));
}

/** What is special about the customer now, each in a line. */
function notes(now) {
  const { record, hold, schedule, deletion, history } = now;
  const lines = [];
  if (hold) {
    lines.push(make("p", {}, "On hold", hold.until ? [" until ", moment(hold.until)] : null, ", placed by ", value(hold.placed_by),
      " on ", moment(hold.placed_at), ": ", value(hold.reason)));
  }
  if (schedule?.status === "SCHEDULED") lines.push(make("p", {}, "To be deleted on ", moment(schedule.delete_at), "."));
  else if (record && schedule && schedule.status !== "CANCELLED") {
    lines.push(make("p", {}, "The deletion scheduled for ", moment(schedule.delete_at), " ended as ", schedule.status, "."));
  }
  if (!record && deletion) {
    lines.push(make("p", {}, "Deleted on ", moment(deletion.occurred_at), " by ", value(deletion.actor_name),
      deletion.actor_claimed ? [" for ", value(deletion.actor_claimed)] : null,
      deletion.reason ? [": ", value(deletion.reason)] : "."));
  } else if (!record) {
    lines.push(make("p", {}, !isKnown(now) ? "There is and was no customer with this id."
      : history === null ? "There is no customer of this id now. Whether there was one only the audit trail says, which your key may not read."
        : "There is no customer of this id now. The history below has what the audit trail knows."));
  }
  return lines.length > 0 ? make("div", { class: "card notes" }, lines) : null;
}

function recordCard({ id, record, last }) {
  if (record) return card("Record", details(record));
  return card(last ? "The record as it was" : "Record", last
    ? facts([["first name", last.first_name], ["last name", last.last_name], ["email", last.email], ["phone", last.phone_number],
      ["status", last.status && status(last.status)], ["type", last.customer_type], ["created", moment(last.createdAt)], ["id", mono(id)]])
    : facts([["id", mono(id)]]));
}

const outlookCard = ({ check }) => card("On deletion", make("div", { id: "outlook" }, outlook(check)));

/** The lists of records that refer to the customer; each is loaded when it is opened. */
function recordsCard(session, { id, check }, signal) {
  const lists = Object.entries(DEPENDENTS).filter(([, { path }]) => path).map(([name, { many, path, columns }]) => {
    const count = check?.blockers.find((blocker) => blocker.table === name)?.count ?? 0;
    const body = make("div", { class: "listed" });
    const load = async (skip) => {
      const { text } = await session.api.read(`/api/v0/customers/${id}/${path}`, { skip, take: LISTED }, signal);
      const { records, total } = listed(text);
      const last = skip + records.length;
      fill(body, make("p", { class: "dim", role: "status" }, total === 0 ? "None." : `${skip + 1} to ${last} of ${total}, newest first.`),
        records.length > 0 ? table(many, columns.map((column) => column.replace(/_/g, " ").replace("At", "")), records.map((each) =>
          columns.map((column) => shown(column, each)))) : null,
        total > LISTED ? make("div", { class: "actions" },
          button("Newer", () => load(skip - LISTED).catch(session.report), { id: `${path}-newer`, disabled: skip === 0 }),
          button("Older", () => load(last).catch(session.report), { id: `${path}-older`, disabled: last >= total })) : null);
    };
    return make("details", {
      class: "records", id: path,
      toggle: (event) => { if (event.currentTarget.open && body.childElementCount === 0) load(0).catch(session.report); },
    }, make("summary", {}, many[0].toUpperCase() + many.slice(1), " ", make("span", { class: "dim" }, String(count))), body);
  });
  return card("What refers to it", ...lists);
}

function shown(column, each) {
  if (each[column] === null) return null;
  if (column === "amount") return each.text.get(column);
  return /At$|_at$/.test(column) ? moment(each[column]) : String(each[column]);
}

function actionsCard(actions, now, open) {
  if (!isKnown(now)) return card("What you can do", make("p", {}, "Nothing: there is no such customer."));
  const groups = [...new Set(actions.map(({ group }) => group))];
  return card("What you can do", actions.length === 0 ? make("p", {}, "Look. Your key permits no more.") : null,
    ...groups.map((group) => make("div", { class: "group" }, make("h3", {}, group),
      make("div", { class: "buttons" }, actions.filter((action) => action.group === group).map((action) =>
        button(action.label, () => open(action), { id: `act-${action.id}`, class: action.isDangerous ? "quiet risky" : "quiet" }))))));
}

function historyCard(session, { id, history }, signal) {
  if (history === null) return null;
  const list = make("ol", { class: "entries", "aria-label": "History, newest first" });
  const more = make("div", { class: "actions" });
  const add = (page) => {
    list.append(...page.entries.map((entry) => entryRow(entry, link("/trail", { customer_id: id, entry: entry.id }))));
    more.replaceChildren(...(page.next === null ? [] : [button("Older", async () => {
      try {
        add(await entries(session.api, { customer_id: id, limit: HISTORY, cursor: page.next }, signal));
      } catch (error) {
        session.report(error);
      }
    }, { id: "history-older" })]));
  };
  add(history);
  return card("History",
    make("p", { class: "dim" }, history.entries.length === 0 ? "The trail has nothing about this customer." : "Attempts to change it, newest first."),
    list, more);
}
