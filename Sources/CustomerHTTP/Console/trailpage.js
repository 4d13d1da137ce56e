// The page of the audit trail: attempts as they happen, a filter, an entry in full, and the chain computed again. Its parts
// stand in index.html.

import { Chart } from "./chart.js";
import { open as openDialog } from "./dialog.js";
import { byID, count, make, say } from "./document.js";
import { Drawer } from "./drawer.js";
import { kept } from "./json.js";
import { List } from "./list.js";
import { OUTCOMES, attempts } from "./outcomes.js";
import { asked, link } from "./router.js";
import { Trail } from "./trail.js";
import { Verification } from "./verification.js";

const PATH = "/trail";
const FILTERS = ["outcome", "customer_id", "actor", "from", "to"];

const filterAsked = () => Object.fromEntries(FILTERS.map((name) => [name, asked().query.get(name) ?? ""]));

const linkTo = (id) => link(PATH, { ...filterAsked(), entry: id });

/** What is on the screen; null while another page is. */
let view = null;

export const trail = {
  path: PATH,
  title: "Audit trail",
  needs: ["audit:read"],

  show({ session }) {
    showFilter();
    view = new View(session);
    // Shown first: a chart needs to know how wide it is.
    byID("trail").hidden = false;
    return view.begin();
  },

  /** The address asks for another filter, another entry, or neither. */
  follow() {
    showFilter();
    return view.follow();
  },

  leave() {
    view.end();
    view = null;
    byID("trail").hidden = true;
    byID("entries").replaceChildren();
    byID("entry-body").replaceChildren();
    byID("verification").hidden = true;
    if (drawer.isOpen) drawer.close();
  },
};

class View {
  #session;
  #trail;
  #list = new List((entry) => linkTo(entry.id));
  #verification;
  #isLive = true;
  #wake = () => {};
  #opening = null;

  constructor(session) {
    this.#session = session;
    this.#trail = new Trail(session.api);
    this.#verification = new Verification(session.api, linkTo);
    this.#listen();
  }

  async begin() {
    byID("live").setAttribute("aria-pressed", "true");
    await this.#ask();
    await this.#open();
  }

  end() {
    this.#trail.stop();
    this.#verification.stop();
  }

  async follow() {
    if (FILTERS.some((name) => (this.#trail.filter[name] ?? "") !== filterAsked()[name])) await this.#ask();
    await this.#open();
  }

  report(error) {
    this.#session.report(error);
  }

  verify() {
    this.#verification.run();
  }

  toggleLive() {
    this.#isLive = !this.#isLive;
    byID("live").setAttribute("aria-pressed", this.#isLive);
    this.#session.announce(this.#isLive ? "Live updates on" : "Live updates off");
    this.#state();
    this.#wake();
  }

  wake() {
    this.#wake();
  }

  move(step) {
    if (!drawer.isOpen) return this.#list.move(step);
    const next = this.#neighbour(step);
    if (next) location.replace(linkTo(next.id));
  }

  closed() {
    const id = asked().query.get("entry");
    history.replaceState(null, "", link(PATH, filterAsked()));
    return Boolean(id) && this.#list.focus(id);
  }

  async older() {
    const before = this.#trail.entries.length;
    await this.#trail.older();
    const first = this.#trail.entries[before];
    if (first) this.#list.focus(first.id);
  }

  /** Loads what is missing of the chart's day, leaving some requests to the auditor. */
  async loadDay() {
    byID("chart-load").disabled = true;
    try {
      while (this.#trail.hasOlder && this.#trail.known > chart.start) await this.#trail.older(20);
    } finally {
      byID("chart-load").disabled = false;
    }
  }

  async #ask() {
    await this.#trail.start(filterAsked());
    this.#watch();
  }

  #watch() {
    this.#trail.watch(async () => {
      while (document.hidden || !this.#isLive) await new Promise((resolve) => { this.#wake = resolve; });
    }).catch(this.#session.report);
  }

  #listen() {
    const trail = this.#trail;
    const shown = () => {
      this.#state();
      this.#drawChart();
      byID("empty").hidden = trail.entries.length > 0;
      byID("older").hidden = !trail.hasOlder;
    };
    trail.addEventListener("reset", ({ detail }) => { this.#list.reset(detail); shown(); });
    trail.addEventListener("older", ({ detail }) => { this.#list.older(detail); shown(); });
    trail.addEventListener("newer", ({ detail }) => {
      this.#list.newer(detail);
      shown();
      this.#session.announce(detail.length === 1
        ? `New attempt: ${detail[0].outcome}, ${detail[0].action}` : `${detail.length} new attempts`);
    });
    trail.addEventListener("polled", shown);
    trail.addEventListener("waiting", ({ detail }) => say("state", detail));
  }

  #state() {
    const { entries, hasOlder } = this.#trail;
    const { budget } = this.#session.api;
    byID("state").textContent = [
      `${count(entries.length)} loaded${hasOlder ? ", there are more" : ""}`,
      this.#isLive ? "watching live" : "not live",
      budget ? `${count(budget.remaining)} of ${count(budget.limit)} requests left` : null,
    ].filter(Boolean).join(" · ");
  }

  #drawChart() {
    const { entries, filter, known } = this.#trail;
    const end = filter.to ? Date.parse(filter.to) - 1 : Date.now();
    chart.show(entries, end, known);
    const sum = entries.filter(({ occurred_at: time }) => Date.parse(time) >= chart.start)
      .reduce((sum, entry) => sum + attempts(entry), 0);
    byID("chart-note").textContent = `${count(sum)} attempts in 24 hours${known > chart.start ? ", as far as loaded" : ""}`;
    byID("chart-load").hidden = known <= chart.start;
  }

  // --- one entry -----------------------------------------------------------------------------------------------------

  async #open() {
    const id = asked().query.get("entry");
    this.#opening = id;
    if (!id) {
      if (drawer.isOpen) drawer.close();
      return;
    }
    const index = this.#trail.find(id);
    const entry = this.#trail.entries[index] ?? kept((await this.#session.api.read(`/api/v0/audit/${encodeURIComponent(id)}`)).text);
    if (this.#opening !== id || view !== this) return;
    const before = this.#trail.entries.find(({ seq }) => seq === entry.seq - 1) ?? null;
    drawer.show(entry, before, {
      hasNewer: index > 0, hasOlder: index >= 0 && index < this.#trail.entries.length - 1,
      mayReadCustomers: this.#session.may("customers:read"),
    });
  }

  #neighbour(step) {
    const index = this.#trail.find(drawer.entry?.id);
    return index < 0 ? undefined : this.#trail.entries[index + step];
  }
}

// --- the filter ------------------------------------------------------------------------------------------------------

function showFilter() {
  const filter = filterAsked();
  const form = byID("filter-form").elements;
  for (const name of FILTERS) {
    form[name].value = name === "from" || name === "to" ? filter[name].replace(/Z$/, "") : filter[name];
  }
  const given = FILTERS.filter((name) => filter[name]).map((name) => `${name.replace("_id", "")} ${filter[name]}`);
  say("filter-summary", given.length > 0 ? given.join(" · ") : "none");
}

function applyFilter(event) {
  event.preventDefault();
  const form = byID("filter-form").elements;
  const value = Object.fromEntries(FILTERS.map((name) => [name, form[name].value.trim()]));
  for (const name of ["from", "to"]) {
    if (value[name]) value[name] = `${value[name].length === 16 ? `${value[name]}:00` : value[name]}Z`;
  }
  location.hash = link(PATH, value);
}

// --- the keyboard ----------------------------------------------------------------------------------------------------

const SHORTCUTS = {
  j: () => view.move(1),
  k: () => view.move(-1),
  l: () => view.toggleLive(),
  v: () => view.verify(),
  "?": openHelp,
  "/": () => {
    byID("filters").open = true;
    byID("outcome").focus();
  },
};

function openHelp() {
  openDialog(byID("help"), byID("help-title"));
}

function onKey(event) {
  if (!view || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const isModal = document.querySelector("dialog[open]") !== null;
  const action = SHORTCUTS[event.key];
  if (!action || isModal && !(drawer.isOpen && "jk".includes(event.key))) return;
  event.preventDefault();
  action();
}

// --- the parts of index.html -----------------------------------------------------------------------------------------

const chart = new Chart((start) => {
  const [from, to] = [start, start + 3_600_000].map((time) => new Date(time).toISOString().replace(".000", ""));
  location.hash = link(PATH, { ...filterAsked(), from, to });
});
const drawer = new Drawer(() => view?.closed() ?? false, (filter) => link(PATH, filter));
const reported = (work) => work.catch((error) => view?.report(error));

byID("outcome").append(...OUTCOMES.map((outcome) => make("option", { value: outcome }, outcome)));
byID("filters").open = matchMedia("(min-width: 50rem)").matches;
byID("filter-form").addEventListener("submit", applyFilter);
byID("filter-form").addEventListener("reset", () => { location.hash = link(PATH); });
byID("live").addEventListener("click", () => view.toggleLive());
byID("verify-start").addEventListener("click", () => view.verify());
byID("older").addEventListener("click", () => reported(view.older()));
byID("chart-load").addEventListener("click", () => reported(view.loadDay()));
byID("entry-newer").addEventListener("click", () => view.move(-1));
byID("entry-older").addEventListener("click", () => view.move(1));
byID("help-open").addEventListener("click", openHelp);
byID("help-close").addEventListener("click", () => byID("help").close());
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => view?.wake());
