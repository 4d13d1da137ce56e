// The page as a whole: who is signed in, what the fragment of the address asks for, and the keyboard.

import { Refusal, TrailAPI } from "./api.js";
import { Chart } from "./chart.js";
import { byID, count, make, say, tell } from "./document.js";
import { Drawer } from "./drawer.js";
import { List } from "./list.js";
import { OUTCOMES, attempts } from "./outcomes.js";
import { Trail } from "./trail.js";
import { Verification } from "./verification.js";

const FILTERS = ["outcome", "customer_id", "actor", "from", "to"];
/** Where the credentials are kept, if they are: gone with the tab, and never part of an address. */
const KEPT = "customerd.credentials";

// --- what the address asks for ---------------------------------------------------------------------------------------

/** `#outcome=…&entry=…`: the fragment, which browsers don't send anywhere. */
const asked = () => new URLSearchParams(location.hash.slice(1));

const filterAsked = () => Object.fromEntries(FILTERS.map((name) => [name, asked().get(name) ?? ""]));

function fragment(values) {
  return `#${new URLSearchParams(Object.entries(values).filter(([, value]) => value))}`;
}

const linkTo = (id) => fragment({ ...filterAsked(), entry: id });

// --- one session -----------------------------------------------------------------------------------------------------

class Session {
  #api;
  #trail;
  #list = new List((entry) => linkTo(entry.id));
  #drawer;
  #verification;
  #isLive = true;
  #wake = () => {};
  #opening = null;

  constructor(api) {
    this.#api = api;
    this.#trail = new Trail(api);
    this.#drawer = drawer;
    this.#verification = new Verification(api, linkTo);
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

  // What was asked for has changed: another filter, another entry, or neither.
  async follow() {
    if (FILTERS.some((name) => (this.#trail.filter[name] ?? "") !== filterAsked()[name])) await this.#ask();
    await this.#open();
  }

  verify() {
    this.#verification.run();
  }

  toggleLive() {
    this.#isLive = !this.#isLive;
    byID("live").setAttribute("aria-pressed", this.#isLive);
    tell("announcer", this.#isLive ? "Live updates on" : "Live updates off");
    this.#state();
    this.#wake();
  }

  wake() {
    this.#wake();
  }

  move(step) {
    if (!this.#drawer.isOpen) return this.#list.move(step);
    const next = this.#neighbour(step);
    if (next) location.replace(linkTo(next.id));
  }

  closed() {
    const id = asked().get("entry");
    history.replaceState(null, "", fragment(filterAsked()));
    if (id) this.#list.focus(id);
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

  // --- the trail -----------------------------------------------------------------------------------------------------

  async #ask() {
    showFilter();
    await this.#trail.start(filterAsked());
    this.#watch();
  }

  #watch() {
    this.#trail.watch(async () => {
      while (document.hidden || !this.#isLive) await new Promise((resolve) => { this.#wake = resolve; });
    }).catch(report);
  }

  #listen() {
    const trail = this.#trail;
    const shown = () => {
      tell("error", null);
      this.#state();
      this.#drawChart();
      byID("empty").hidden = trail.entries.length > 0;
      byID("older").hidden = !trail.hasOlder;
      const app = trail.entries[0]?.app_id;
      if (app) tell("whose", `app_${app}`);
    };
    trail.addEventListener("reset", ({ detail }) => { this.#list.reset(detail); shown(); });
    trail.addEventListener("older", ({ detail }) => { this.#list.older(detail); shown(); });
    trail.addEventListener("newer", ({ detail }) => {
      this.#list.newer(detail);
      shown();
      tell("announcer", detail.length === 1
        ? `New attempt: ${detail[0].outcome}, ${detail[0].action}` : `${detail.length} new attempts`);
    });
    trail.addEventListener("polled", shown);
    trail.addEventListener("waiting", ({ detail }) => say("state", detail));
  }

  #state() {
    const { entries, hasOlder } = this.#trail;
    const budget = this.#api.budget;
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
    const id = asked().get("entry");
    this.#opening = id;
    if (!id) {
      if (this.#drawer.isOpen) this.#drawer.close();
      return;
    }
    const index = this.#trail.find(id);
    const entry = this.#trail.entries[index] ?? await this.#api.patiently(() => this.#api.entry(id));
    if (this.#opening !== id) return;
    const before = this.#trail.entries.find(({ seq }) => seq === entry.seq - 1) ?? null;
    this.#drawer.show(entry, before, {
      hasNewer: index > 0, hasOlder: index >= 0 && index < this.#trail.entries.length - 1,
    });
  }

  #neighbour(step) {
    const index = this.#trail.find(this.#drawer.entry?.id);
    return index < 0 ? undefined : this.#trail.entries[index + step];
  }
}

// --- the page --------------------------------------------------------------------------------------------------------

let session = null;

const chart = new Chart((start) => {
  const [from, to] = [start, start + 3_600_000].map((time) => new Date(time).toISOString().replace(".000", ""));
  location.hash = fragment({ ...filterAsked(), from, to });
});
const drawer = new Drawer(() => session?.closed(), (filter) => fragment(filter));

/** Shows what went wrong, if it is of interest. */
function report(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Refusal && error.status === 401) return signOut(`${error.message}.`);
  tell("error", `${error.message}.`);
  if (!(error instanceof Refusal)) console.error(error);
}

async function signIn(key, secret) {
  const button = byID("login-form").querySelector("button");
  button.disabled = true;
  tell("login-error", null);
  session = new Session(new TrailAPI(key, secret));
  try {
    // Shown first: a chart needs to know how wide it is.
    show(true);
    await session.begin();
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (error instanceof Refusal && (error.status === 401 || error.status === 403)) {
      const hint = error.status === 403 ? ": the key needs audit:read" : "";
      signOut(`${error.message}${hint}.`);
    } else {
      report(error);
    }
    return false;
  } finally {
    button.disabled = false;
  }
}

function signOut(reason = null) {
  session?.end();
  session = null;
  sessionStorage.removeItem(KEPT);
  byID("client-secret").value = "";
  byID("entries").replaceChildren();
  byID("entry-body").replaceChildren();
  byID("verification").hidden = true;
  if (drawer.isOpen) drawer.close();
  show(false);
  tell("whose", null);
  tell("login-error", reason);
  byID("client-key").focus();
}

function show(isSignedIn) {
  byID("login").hidden = isSignedIn;
  byID("trail").hidden = !isSignedIn;
  byID("actions").hidden = !isSignedIn;
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
  location.hash = fragment(value);
}

// --- the keyboard ----------------------------------------------------------------------------------------------------

const SHORTCUTS = {
  j: () => session.move(1),
  k: () => session.move(-1),
  l: () => session.toggleLive(),
  v: () => session.verify(),
  "?": () => openHelp(),
  "/": () => {
    byID("filters").open = true;
    byID("outcome").focus();
  },
};

function openHelp() {
  byID("help").showModal();
  byID("help-title").focus();
}

function onKey(event) {
  if (!session || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
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

// --- from the start --------------------------------------------------------------------------------------------------

byID("outcome").append(...OUTCOMES.map((outcome) => make("option", { value: outcome }, outcome)));
byID("filters").open = matchMedia("(min-width: 50rem)").matches;

byID("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [key, secret] = [byID("client-key").value.trim(), byID("client-secret").value.trim()];
  if (!await signIn(key, secret)) return;
  byID("client-secret").value = "";
  if (byID("remember").checked) sessionStorage.setItem(KEPT, JSON.stringify({ key, secret }));
  byID("entries").focus();
});
byID("filter-form").addEventListener("submit", applyFilter);
byID("filter-form").addEventListener("reset", () => { location.hash = ""; });
byID("sign-out").addEventListener("click", () => signOut());
byID("live").addEventListener("click", () => session.toggleLive());
byID("verify-start").addEventListener("click", () => session.verify());
byID("older").addEventListener("click", () => session.older().catch(report));
byID("chart-load").addEventListener("click", () => session.loadDay().catch(report));
byID("entry-newer").addEventListener("click", () => session.move(-1));
byID("entry-older").addEventListener("click", () => session.move(1));
byID("help-open").addEventListener("click", openHelp);
byID("help-close").addEventListener("click", () => byID("help").close());
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => session?.wake());
addEventListener("hashchange", () => session?.follow().catch(report));

const kept = sessionStorage.getItem(KEPT);
if (kept) {
  const { key, secret } = JSON.parse(kept);
  await signIn(key, secret);
} else {
  show(false);
  byID("client-key").focus();
}
