// The API as this page uses it: authenticated, within the rate limit, patient where patience helps.

/** An answer that asking again won't change. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** No answer, or one that may be another in a while. */
export class NotNow extends Error {
  /**
   * @param {number} [seconds] - after which to ask again, if the service says so
   * @param {number|null} [status] - null if no answer came
   */
  constructor(message, seconds, status = null) {
    super(message);
    this.seconds = seconds;
    this.status = status;
  }
}

export class API {
  #headers;
  clientKey;
  /** What is left of the key's requests: limit, remaining, and until when (milliseconds of this clock). */
  budget = null;
  /** Told why a read waits, in a sentence; null once it doesn't. */
  onWait = () => {};

  /** @param {string} actor - who acts, for the trail; may be empty */
  constructor(key, secret, actor = "") {
    this.clientKey = key;
    this.#headers = { "x-client-key": key, "x-client-secret": secret, ...(actor && { "x-actor-id": utf8(actor) }) };
  }

  /**
   * Reads, once.
   * @param {object} query - parameters; empty ones are left out
   * @returns {Promise<{status: number, text: string, etag: string|null}>}
   */
  get(path, query = {}, signal = undefined) {
    return this.#ask("GET", path + queried(query), {}, undefined, signal);
  }

  /**
   * Reads, as long as there is hope.
   * @param {function(string|null)} onWait - told why it waits, in a sentence; null once it doesn't
   */
  async read(path, query = {}, signal = undefined, onWait = this.onWait) {
    const answer = await this.patiently(() => this.get(path, query, signal), signal, onWait);
    onWait(null);
    return answer;
  }

  /** Reads what may not be there: null then. */
  async find(path, query = {}, signal = undefined, onWait = this.onWait) {
    try {
      return await this.read(path, query, signal, onWait);
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) return null;
      throw error;
    }
  }

  /**
   * Asks for a write, once.
   * @param {{method: string, path: string, body?: object, ifMatch?: string|null, reason?: string}} request
   * @param {string|null} key - the idempotency key; null for an export or a ping, which take none
   */
  send({ method, path, body, ifMatch, reason }, key, signal = undefined) {
    return this.#ask(method, path, {
      ...(key && { "idempotency-key": key }),
      ...(ifMatch && { "if-match": ifMatch }),
      ...(reason && { "x-audit-reason": utf8(reason) }),
      ...(body && { "content-type": "application/json" }),
    }, body && JSON.stringify(body), signal);
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
        await rest(error, attempt, signal, onWait);
      }
    }
  }

  /** Waits until more than `reserve` requests are left, so that work in the background leaves some to people. */
  async spare(reserve, signal, onWait = () => {}) {
    const budget = this.budget;
    if (!budget || budget.remaining > Math.min(reserve, budget.limit / 2)) return;
    const wait = budget.until - Date.now();
    if (wait <= 0) return;
    onWait(`The rate limit of the key is used up; continuing in ${Math.ceil(wait / 1000)} s`);
    await pause(wait + Math.random() * 1000, signal);
  }

  async #ask(method, path, headers, body, signal) {
    let response;
    let text;
    try {
      response = await fetch(path, {
        method, body, headers: { ...this.#headers, ...headers }, cache: "no-store", credentials: "omit",
        redirect: "error", referrerPolicy: "no-referrer", signal,
      });
      text = await response.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new NotNow("The service can't be reached");
    }
    const { status } = response;
    this.#note(response.headers);
    if (response.ok) return { status, text, etag: response.headers.get("ETag") };
    let message = `The service answered ${status}`;
    try {
      message = JSON.parse(text).message;
    } catch {
      // A proxy's own page.
    }
    const seconds = Number.parseInt(response.headers.get("Retry-After"), 10);
    const isPassing = status === 429 || status === 408 || status >= 500 || status === 409 && Number.isFinite(seconds);
    if (isPassing) throw new NotNow(message, Number.isFinite(seconds) ? seconds : undefined, status);
    throw new Refusal(status, message);
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

function queried(query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

/** A header as the service reads it: the bytes of UTF-8, each of which `fetch` takes for a character. */
const utf8 = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** Waits before another attempt, as long as the service says, or longer and longer. */
export function rest(error, attempt, signal, onWait) {
  const seconds = error.seconds ?? Math.min(30, 2 ** attempt);
  onWait(`${error.message}; trying again in ${Math.ceil(seconds)} s`);
  // A little more, and not the same for all, so that clients do not all come back at once.
  return pause((seconds + Math.random()) * 1000, signal);
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
