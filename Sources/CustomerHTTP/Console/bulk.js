// Bulk deletion: a list of ids, a dry run, then the deletion of those that can be deleted; and the runs that there were.

import { pause } from "./api.js";
import { MOST, idsIn, textOf, written } from "./csv.js";
import { certain, decide } from "./decision.js";
import { save } from "./download.js";
import { badge, button, byID, card, clock, count, fill, make, moment, mono, table, value } from "./document.js";
import { reason, typed } from "./form.js";
import { paged } from "./paged.js";
import { link } from "./router.js";

const PATH = "/api/v0/bulk-deletions";
/** Seconds between two looks at the progress. */
const PACE = 1;
/** Requests of the key that watching leaves to others. */
const RESERVE = 20;
/** Lines that the page shows of those that weren't deleted; the file has all. */
const SHOWN = 50;

const number = (many, one, more) => `${count(many)} ${many === 1 ? one : more}`;

const HUES = { RUNNING: "denied", DONE: "done", CANCELLED: "nothing" };

/** How many customers of a run have come to an end. */
const doneOf = ({ deleted, refused, not_found: gone, failed }) => deleted + refused + gone + failed;

/** What came of a run's customers, in words. */
const inNumbers = ({ deleted, refused, not_found: gone, failed }, isDry) => [
  [deleted, isDry ? "would be deleted" : "deleted"], [refused, "refused, since records refer to them"], [gone, "not found"],
  [failed, "failed"],
].map(([many, what]) => `${count(many)} ${what}`);

/** A column of the list, by its number and heading. */
const columnNamed = ({ number, heading }) => make("span", {}, `column ${number}, `, make("code", {}, heading));

/** The page that takes the list of ids, and lists the runs. */
export const bulk = {
  path: "/bulk",
  title: "Bulk deletion",
  needs: ["customers:read"],

  async show({ session, place, signal }) {
    const runs = make("div", { id: "bulk-runs" });
    const found = make("div", { id: "found-ids", "aria-live": "polite" });
    const list = make("textarea", {
      id: "list", rows: 8, spellcheck: "false", autocomplete: "off", class: "mono", "aria-describedby": "list-hint",
      input: read, value: "",
    });
    const file = make("input", { type: "file", id: "list-file", accept: ".csv,.tsv,.txt,text/csv,text/plain", change: () => take(file.files[0]) });
    const drop = make("div", {
      class: "drop", id: "drop",
      dragover: (event) => {
        event.preventDefault();
        drop.classList.add("over");
      },
      dragleave: () => drop.classList.remove("over"),
      drop: (event) => {
        event.preventDefault();
        drop.classList.remove("over");
        take(event.dataTransfer.files[0]);
      },
    },
    make("label", { for: "list" }, "Ids of customers"),
    make("p", { class: "hint", id: "list-hint" },
      "Paste or drop a list: an id a line, or a CSV file whose column of customers has the heading ", make("code", {}, "customer_id"), " or ",
      make("code", {}, "id"), `. At most ${count(MOST)}.`),
    list, make("label", { for: "list-file" }, "Or choose a file"), file);

    fill(place,
      make("h1", { tabindex: -1 }, "Bulk deletion"),
      session.may("customers:delete") ? make("section", { class: "card", "aria-label": "The list" }, drop, found) : null,
      card("Runs", make("p", { class: "hint" }, "Kept for at least 30 days."), runs));
    if (session.memory.list) {
      list.value = session.memory.list;
      read();
    }
    await paged({ session, signal }, runs, {
      path: PATH, name: "Bulk deletions", columns: ["begun", "run", "status", "customers", "came to", "key"], order: "the newest first", row: runRow,
    });

    async function take(chosen) {
      if (!chosen) return;
      list.value = await textOf(chosen);
      read();
    }

    function read() {
      session.memory.list = list.value;
      if (list.value.trim() === "") return fill(found);
      const { ids, repeated, rejected, openQuote, columns } = idsIn(list.value);
      if (openQuote !== null) {
        return fill(found, make("p", { class: "notice bad" },
          `The quotation mark in line ${count(openQuote)} opens a cell that doesn't end with one, so it isn't known what belongs to it. `,
          "Nothing of the list is taken. Close the cell, or write a quotation mark that belongs to its text twice."));
      }
      const isTooLong = ids.length > MOST;
      fill(found,
        make("p", { class: "lead" }, number(ids.length, "customer", "customers"), " in the list",
          repeated > 0 ? `, ${number(repeated, "repetition", "repetitions")} left out` : null, "."),
        columns.length > 1 ? make("p", { class: "notice", id: "column-taken" }, "The ids are taken from ", columnNamed(columns[0]),
          ", not from ", ...columns.slice(1).flatMap((each, index) => [index > 0 ? " or " : "", columnNamed(each)]),
          ". If the customers are in another column, take this one out of the list.") : null,
        isTooLong ? make("p", { class: "notice bad" }, `That is too many for one run, which takes at most ${count(MOST)}. Split the list.`) : null,
        rejected.length > 0 ? make("details", { class: "rejected" },
          make("summary", {}, number(rejected.length, "line", "lines"), " left out"),
          table("Lines left out", ["line", "text", "why"],
            rejected.slice(0, SHOWN).map(({ line, text, why }) => [line, text.slice(0, 200), why])),
          rejected.length > SHOWN ? make("p", { class: "dim" }, `… and ${count(rejected.length - SHOWN)} more.`) : null) : null,
        ids.length > 0 && !isTooLong ? make("div", { class: "actions" },
          button("Try it: dry run", () => tryIt(ids), { class: "primary", id: "dry-run" })) : null);
    }

    function tryIt(ids) {
      decide(session, {
        title: `Dry run of ${number(ids.length, "deletion", "deletions")}`, verb: "Start the dry run", fields: [],
        foresee: certain("Nothing is deleted. Each customer is looked at as if it were to be deleted, and you see what would come of it."),
        request: () => ({ method: "POST", path: PATH, body: { ids, dry_run: true }, about: "dry run" }),
        done: ({ text }) => { location.hash = link(`/bulk/${JSON.parse(text).id}`, { dry: "1" }); },
      });
    }
  },
};

/** A run as a row of the list. */
function runRow(run) {
  const { id, status, total, dry_run: isDry, created_at: at, created_by: by } = run;
  const done = doneOf(run);
  const numbers = inNumbers(run, isDry).filter((text) => !text.startsWith("0 "));
  return [
    moment(at),
    make("a", { href: link(`/bulk/${id}`, { dry: isDry ? "1" : "" }), id: `run-${id}`, "aria-label": `${isDry ? "Dry run" : "Deletion"} of ${clock(at)}` },
      isDry ? "dry run" : "deletion"),
    badge(status, HUES[status] ?? "nothing"),
    done === total ? count(total) : `${count(done)} of ${count(total)}`,
    numbers.length === 0 ? null : numbers.join(" · "),
    value(by),
  ];
}

/** One run: how far it has come, and what came of it. */
export const bulkRun = {
  path: "/bulk/:id",
  title: "Bulk deletion",
  needs: ["customers:read"],
  parent: "/bulk",

  async show({ session, place, id, query, signal }) {
    let isDry = query.has("dry");
    const title = make("h1", { tabindex: -1 }, isDry ? "Dry run" : "Bulk deletion");
    const bar = make("progress", { max: 1, value: 0, "aria-label": "Customers done" });
    const numbers = make("p", { id: "bulk-numbers" });
    const stop = make("div", { class: "actions" });
    const results = make("div", { id: "bulk-results", class: "stack" });
    fill(place,
      make("p", { class: "back" }, make("a", { href: link("/bulk") }, "Bulk deletion")),
      title,
      make("section", { class: "card", "aria-label": "Progress" }, make("p", { class: "lead", id: "bulk-status" }), bar, numbers, stop),
      results);

    watch().catch(session.report);

    async function watch() {
      let state;
      for (;;) {
        state = JSON.parse((await session.api.read(`${PATH}/${id}`, {}, signal)).text);
        show(state);
        if (state.status !== "RUNNING") break;
        if (stop.childElementCount === 0 && session.may("customers:delete")) stop.append(button("Stop", halt, { id: "bulk-stop" }));
        await pause(PACE * 1000, signal);
        await session.api.spare(RESERVE, signal, session.api.onWait);
      }
      fill(stop);
      const { text } = await session.api.read(`${PATH}/${id}/results`, {}, signal);
      const items = text.trim().split("\n").filter(Boolean).map((line) => JSON.parse(line));
      // The address may not say so, but only what was deleted has entries.
      isDry ||= items.some((item) => item.statusCode !== null) && items.every((item) => !item.entry);
      title.textContent = isDry ? "Dry run" : "Bulk deletion";
      show(state);
      report(items);
      session.announce(byID("bulk-status").textContent);
    }

    function show(state) {
      const { status, total } = state;
      const done = doneOf(state);
      bar.value = total === 0 ? 1 : done / total;
      fill(byID("bulk-status"), make("span", {}, status === "RUNNING" ? `${count(done)} of ${count(total)} done …`
        : status === "CANCELLED" ? `Stopped after ${count(done)} of ${count(total)}.` : `Done: ${number(total, "customer", "customers")}.`));
      numbers.replaceChildren(inNumbers(state, isDry).join(" · "));
    }

    function halt() {
      decide(session, {
        title: "Stop the run", verb: "Stop it", fields: [],
        foresee: certain("No further customer is deleted. What was deleted stays deleted."),
        request: () => ({ method: "DELETE", path: `${PATH}/${id}` }),
        done: () => session.say("It is stopped."),
      });
    }

    function report(items) {
      const deletable = items.filter(({ statusCode }) => statusCode === 200).map((item) => item.id);
      const others = items.filter(({ statusCode }) => statusCode !== 200);
      fill(results,
        isDry && deletable.length > 0 && session.may("customers:delete") ? card("Delete them",
          make("p", {}, number(deletable.length, "customer", "customers"), " would be deleted",
            others.length === 1 ? ", the other one wouldn't and is left out"
              : others.length > 0 ? `, the other ${count(others.length)} wouldn't and are left out` : null, "."),
          make("div", { class: "actions" }, button(`Delete ${number(deletable.length, "customer", "customers")}`, () => really(deletable), { class: "danger", id: "bulk-delete" }))) : null,
        card("Results",
          make("div", { class: "actions" }, button("Download as CSV", () => save(
            `bulk-${id}.csv`,
            written([["id", "statusCode", "message", "entry"], ...items.map((item) => [item.id, item.statusCode, item.message, item.entry])]),
            "text/csv"), { id: "bulk-download" })),
          others.length === 0 ? make("p", {}, isDry ? "All of them would be deleted." : "All of them were deleted.") : null,
          others.length > 0 ? table(isDry ? "Those that wouldn't be deleted" : "Those that weren't deleted",
            ["customer", "status", "why", ...(session.may("audit:read") && !isDry ? ["entry"] : [])],
            others.slice(0, SHOWN).map((item) => [
              make("a", { href: link(`/customers/${item.id}`) }, mono(item.id)),
              item.statusCode === null ? badge("NOT BEGUN", "nothing") : String(item.statusCode),
              item.message ?? null,
              ...(session.may("audit:read") && !isDry ? [item.entry ? make("a", { href: link("/trail", { entry: item.entry }) }, "look") : null] : []),
            ])) : null,
          others.length > SHOWN ? make("p", { class: "dim" }, `… and ${count(others.length - SHOWN)} more, in the file.`) : null));
    }

    function really(ids) {
      const phrase = `delete ${ids.length}`;
      decide(session, {
        title: `Delete ${number(ids.length, "customer", "customers")}`, verb: `Delete ${count(ids.length)}`, isDangerous: true,
        fields: [reason, typed(phrase, "the words")],
        foresee: certain(
          "Each is deleted for itself, with an entry of its own. What has got records since the dry run is refused. You can watch it, and stop it.",
          [make("strong", {}, "Nothing brings them back from here"), session.may("customers:restore") ? " but a restore, one by one." : "."]),
        request: ({ reason }) => ({ method: "POST", path: PATH, body: { ids, dry_run: false, reason }, reason, about: "deletion" }),
        done({ text }) {
          delete session.memory.list;
          location.hash = link(`/bulk/${JSON.parse(text).id}`);
        },
      });
    }
  },
};
