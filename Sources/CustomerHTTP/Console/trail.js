// The attempts that are loaded: the newest ones first, and the older ones as far as they were asked for.

import { pause } from "./api.js";
import { kept, members, parts } from "./json.js";

const PAGE = 50;
/** Pages that a poll reads at most before it starts over from the newest. */
const MOST_PAGES = 5;
/** Seconds between two polls: while something happens, and at last while nothing does. */
const PACE = { least: 4, most: 30 };
/** Requests of the key that polling leaves to the person who uses it. */
const RESERVE = 20;

/**
 * A page of entries, newest first.
 * @param {object} query - the parameters of GET /api/v0/audit
 * @returns {Promise<{entries: object[], next: string|null}>}
 */
export async function entries(api, query, signal) {
  return paged((await api.read("/api/v0/audit", query, signal)).text);
}

/** The same, asked for once. */
export const entriesOnce = async (api, query, signal) => paged((await api.get("/api/v0/audit", query, signal)).text);

function paged(text) {
  const page = members(text);
  return { entries: parts(page.get("data")).map(([, each]) => kept(each)), next: JSON.parse(page.get("next_cursor")) };
}

export class Trail extends EventTarget {
  entries = [];
  filter = {};
  #api;
  #next = null;
  #ids = new Set();
  /** Ends what is under way when the filter changes. */
  #session = new AbortController();

  constructor(api) {
    super();
    this.#api = api;
  }

  get hasOlder() {
    return this.#next !== null;
  }

  /** The time since when no entry is missing: of all, or since the oldest that is loaded. */
  get known() {
    if (!this.hasOlder) return 0;
    return Date.parse(this.entries.at(-1)?.occurred_at ?? "") || Number.MAX_SAFE_INTEGER;
  }

  find(id) {
    return this.entries.findIndex((entry) => entry.id === id);
  }

  /** Loads the newest entries that match, and forgets all others. */
  async start(filter) {
    this.stop();
    this.#session = new AbortController();
    const signal = this.#session.signal;
    this.filter = filter;
    const page = await this.#api.patiently(() => this.#page(null, signal), signal, this.#onWait);
    signal.throwIfAborted();
    this.#reset(page);
  }

  stop() {
    this.#session.abort(new DOMException("Another question was asked", "AbortError"));
  }

  /** Loads a page of older entries. */
  async older(reserve = 0) {
    const signal = this.#session.signal;
    if (!this.hasOlder) return;
    await this.#api.spare(reserve, signal, this.#onWait);
    const page = await this.#api.patiently(() => this.#page(this.#next, signal, 100), signal, this.#onWait);
    signal.throwIfAborted();
    this.#next = page.next;
    this.#add("older", page.entries);
  }

  /**
   * Looks for new entries until the filter changes: often while there are some, ever less often while there are none,
   * and not at all while the page is hidden or live watching is off.
   * @param {function(): Promise} wanted - resolves when the page is visible
   */
  async watch(wanted) {
    const signal = this.#session.signal;
    let seconds = PACE.least;
    for (;;) {
      await pause(seconds * 1000 * (0.9 + Math.random() * 0.2), signal);
      await wanted();
      await this.#api.spare(RESERVE, signal, this.#onWait);
      const found = await this.#api.patiently(() => this.#poll(signal), signal, this.#onWait);
      seconds = found > 0 ? PACE.least : Math.min(PACE.most, seconds * 1.25);
      this.dispatchEvent(new Event("polled"));
    }
  }

  #onWait = (reason) => this.dispatchEvent(new CustomEvent("waiting", { detail: reason }));

  #page(cursor, signal, limit = PAGE) {
    return entriesOnce(this.#api, { ...this.filter, cursor, limit }, signal);
  }

  async #poll(signal) {
    let found = [];
    let page = await this.#page(null, signal);
    for (let pages = 1; ; pages += 1) {
      const fresh = page.entries.filter(({ id }) => !this.#ids.has(id));
      found = found.concat(fresh);
      if (fresh.length < page.entries.length || page.next === null) break;
      if (pages === MOST_PAGES) {
        // More has happened than can be caught up with: what is between isn't known any more.
        this.#reset({ entries: found, next: page.next });
        return found.length;
      }
      page = await this.#page(page.next, signal);
    }
    signal.throwIfAborted();
    if (found.length > 0) this.#add("newer", found);
    return found.length;
  }

  #reset(page) {
    this.entries = [];
    this.#ids.clear();
    this.#next = page.next;
    this.#add("reset", page.entries);
  }

  #add(kind, entries) {
    const fresh = entries.filter(({ id }) => !this.#ids.has(id));
    for (const { id } of fresh) this.#ids.add(id);
    this.entries = kind === "newer" ? fresh.concat(this.entries) : this.entries.concat(fresh);
    this.dispatchEvent(new CustomEvent(kind, { detail: fresh }));
  }
}
