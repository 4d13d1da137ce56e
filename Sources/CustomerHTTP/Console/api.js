// The API as this page uses it: authenticated, within the rate limit, patient where patience helps.

import { entry, members, parts } from "./json.js";

/** An answer that asking again won't change. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** No answer, or one that may be another in a while. */
export class NotNow extends Error {
  constructor(message, seconds) {
    super(message);
    this.seconds = seconds;
  }
}

export class TrailAPI {
  #headers;
  /** What is left of the key's requests: limit, remaining, and until when (milliseconds of this clock). */
  budget = null;

  constructor(key, secret) {
    this.#headers = { "x-client-key": key, "x-client-secret": secret };
  }

  /**
   * A page of entries, newest first.
   * @param {object} query - the parameters of GET /api/v0/audit; empty ones are left out
   * @returns {Promise<{entries: object[], next: string|null}>}
   */
  async page(query, signal) {
    const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const page = members(await this.#get(`/api/v0/audit?${new URLSearchParams(given)}`, signal));
    return {
      entries: parts(page.get("data")).map(([, text]) => entry(text)),
      next: JSON.parse(page.get("next_cursor")),
    };
  }

  /** One entry. */
  async entry(id, signal) {
    return entry(await this.#get(`/api/v0/audit/${encodeURIComponent(id)}`, signal));
  }

  /**
   * Asks until there is an answer, waiting as long as the service says, or longer and longer.
   * @param {function(): Promise} request
   * @param {function(string)} onWait - told why, in a sentence
   */
  async patiently(request, signal, onWait = () => {}) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof NotNow)) throw error;
        const seconds = error.seconds ?? Math.min(30, 2 ** attempt);
        onWait(`${error.message}; trying again in ${Math.ceil(seconds)} s`);
        // A little more, and not the same for all, so that clients do not all come back at once.
        await pause((seconds + Math.random()) * 1000, signal);
      }
    }
  }

  /** Waits until more than `reserve` requests are left, so that work in the background leaves some to the auditor. */
  async spare(reserve, signal, onWait = () => {}) {
    const budget = this.budget;
    if (!budget || budget.remaining > Math.min(reserve, budget.limit / 2)) return;
    const wait = budget.until - Date.now();
    if (wait <= 0) return;
    onWait(`The rate limit of the key is used up; continuing in ${Math.ceil(wait / 1000)} s`);
    await pause(wait + Math.random() * 1000, signal);
  }

  async #get(path, signal) {
    let response;
    let text;
    try {
      response = await fetch(path, {
        headers: this.#headers, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
        signal,
      });
      text = await response.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new NotNow("The service can't be reached");
    }
    this.#note(response.headers);
    if (response.ok) return text;
    let message = `The service answered ${response.status}`;
    try {
      message = JSON.parse(text).message;
    } catch {
      // A proxy's own page.
    }
    if (response.status === 429 || response.status >= 500) {
      const seconds = Number.parseInt(response.headers.get("Retry-After"), 10);
      throw new NotNow(message, Number.isFinite(seconds) ? seconds : undefined);
    }
    throw new Refusal(response.status, message);
  }

  #note(headers) {
    const [limit, remaining, reset] = ["Limit", "Remaining", "Reset"].map((name) =>
      Number.parseInt(headers.get(`X-RateLimit-${name}`), 10));
    if (![limit, remaining, reset].every(Number.isFinite)) return;
    // By the service's clock, which may not be that of this machine.
    const now = Date.parse(headers.get("Date") ?? "") || Date.now();
    this.budget = { limit, remaining, until: Date.now() + Math.max(0, reset * 1000 - now) };
  }
}

/** Waits, unless and until the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
