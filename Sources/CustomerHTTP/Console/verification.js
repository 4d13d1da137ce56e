// "Verify the chain": reads the app's whole chain and computes it again, in this browser.

import { NotNow, Refusal } from "./api.js";
import { ChainCheck, canCompute } from "./chain.js";
import { entriesOnce } from "./trail.js";
import { byID, clock, count, make, say, tell } from "./document.js";

/** Requests that are left to the page itself while the chain is read. */
const RESERVE = 10;
/** Where this browser keeps which heads it verified: seq, hash and time by app, no personal data. */
const HEADS = "customerd.verified-heads";

export class Verification {
  #api;
  #link;
  #running = null;

  /** @param {function(string): string} link - where the entry with an id is shown */
  constructor(api, link) {
    this.#api = api;
    this.#link = link;
    byID("verify-stop").onclick = () => this.stop();
    byID("verify-close").onclick = () => { byID("verification").hidden = true; };
  }

  stop() {
    this.#running?.abort(new DOMException("Stopped", "AbortError"));
  }

  async run() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#begin();
    try {
      if (!canCompute()) throw new Error("the browser computes only for pages loaded over https or from this machine");
      await this.#check(this.#running.signal);
    } catch (error) {
      const reason = error.name === "AbortError" ? "it was stopped" : error.message;
      this.#conclude("unknown", `Not verified: ${reason}.`);
      if (!(error instanceof Refusal || error instanceof NotNow || error.name === "AbortError")) console.error(error);
    } finally {
      this.#running = null;
      byID("verify-stop").hidden = true;
      byID("verify-close").hidden = false;
    }
  }

  // --- the work ------------------------------------------------------------------------------------------------------

  async #check(signal) {
    const first = await this.#page(null, signal);
    const app = first.entries[0]?.app_id;
    const remembered = app ? heads()[app] ?? null : null;
    const check = new ChainCheck(remembered);
    const start = first.entries[0];
    for (let page = first; ; page = await this.#page(page.next, signal)) {
      for (const entry of page.entries) {
        signal.throwIfAborted();
        await check.take(entry);
        this.#progress(check.checked, start.seq - entry.seq + 1, start.seq);
      }
      if (page.next === null) break;
    }
    // An entry may have been redacted while this was under way: the redaction is above where it began.
    for (let tries = 0; tries < 3 && check.undeclared.length > 0; tries += 1) {
      for (const entry of await this.#above(check.head.seq, signal)) await check.takeNewer(entry);
    }
    this.#report(check, check.finish(), remembered);
  }

  #page(cursor, signal) {
    const onWait = (reason) => say("verify-count", `${reason} …`);
    return this.#api.spare(RESERVE, signal, onWait).then(() =>
      this.#api.patiently(() => entriesOnce(this.#api, { limit: 100, proof: "true", cursor }, signal), signal, onWait));
  }

  /** What came after an entry, oldest first. */
  async #above(seq, signal) {
    const newer = [];
    let cursor = null;
    do {
      const page = await this.#page(cursor, signal);
      newer.push(...page.entries.filter((entry) => entry.seq > seq));
      cursor = page.entries.every((entry) => entry.seq > seq) ? page.next : null;
    } while (cursor !== null);
    return newer.reverse();
  }

  // --- what is shown -------------------------------------------------------------------------------------------------

  #begin() {
    byID("verification").hidden = false;
    byID("verification").className = "card verdict";
    byID("verify-stop").hidden = false;
    byID("verify-close").hidden = true;
    byID("verify-progress").hidden = false;
    byID("verify-progress").value = 0;
    byID("verify-result").replaceChildren();
    tell("verify-count", "Reading the chain …");
    byID("verification-title").focus();
  }

  #progress(checked, done, all) {
    if (checked % 20 !== 0 && done !== all) return;
    byID("verify-progress").value = all === 0 ? 1 : done / all;
    tell("verify-count", `${count(done)} of ${count(all)} entries computed again`);
  }

  #report(check, fault, remembered) {
    tell("verify-count", `${count(check.checked)} entries computed again`);
    if (fault) {
      this.#conclude("broken", `The chain is broken at entry ${fault.seq}: ${fault.reason}.`,
        make("p", {}, fault.seq > 1
          ? `The ${count(fault.seq - 1)} entries before it are unchanged.`
          : null,
          " From there on nothing is proven. ",
          fault.id === null ? null : make("a", { href: this.#link(fault.id) }, `Look at entry ${fault.seq}`)),
        remembered === null ? null : make("p", {}, "If the database was restored from a backup on purpose, let this ",
          "browser ", make("button", {
            type: "button", class: "link",
            click: () => {
              forget(check.head.app_id);
              byID("verification").hidden = true;
            },
          }, "forget what it verified before"), "."));
      return;
    }
    if (check.head !== null) remember(check.head);
    this.#conclude("whole",
      check.head === null ? "There is no entry yet." : `The chain is intact: entries 1 to ${count(check.head.seq)}.`,
      remembered === null ? null : make("p", {},
        `It extends the chain of ${count(remembered.seq)} entries that this browser verified on ${remembered.at}.`),
      make("p", { class: "dim" }, "Computed in this browser from what the API answers. Whether the newest entries were ",
        "cut off, or all of it rewritten, only a head that was kept elsewhere can show: this browser keeps the one it has ",
        "just verified, and ", make("code", {}, "customerd audit verify --checkpoint"), " compares it with signed ones."));
  }

  #conclude(state, sentence, ...more) {
    byID("verification").className = `card verdict ${state}`;
    byID("verify-progress").hidden = true;
    byID("verify-result").replaceChildren(...[make("p", { class: "lead" }, sentence), ...more].filter(Boolean));
  }
}

// --- heads that this browser verified --------------------------------------------------------------------------------

function heads() {
  try {
    return JSON.parse(localStorage.getItem(HEADS) ?? "{}");
  } catch {
    return {};
  }
}

function keep(heads) {
  try {
    localStorage.setItem(HEADS, JSON.stringify(heads));
  } catch {
    // Without storage the next verification just knows of no earlier one.
  }
}

function remember({ app_id: app, seq, hash }) {
  keep({ ...heads(), [app]: { seq, hash, at: `${clock(new Date().toISOString())} UTC` } });
}

function forget(app) {
  const { [app]: _, ...others } = heads();
  keep(others);
}
