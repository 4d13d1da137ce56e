// A write that was decided on. It is sent under one idempotency key until it is known what came of it, so that it
// is done once, however often an answer is lost.

import { NotNow, Refusal, rest } from "./api.js";

/** How often it is repeated by itself. */
const REPEATS = 4;
/** Those that were sent and whose outcome isn't known, by what they are about. */
const doubts = new Map();

const nameOf = (api, { method, path, about = "" }) => [api.clientKey, method, path, about].join(" ");

// Leaving the page forgets the keys under which the true outcomes could be had.
addEventListener("beforeunload", (event) => {
  if (doubts.size > 0) event.preventDefault();
});

export class Intent {
  #api;
  /** None for what may be done twice: it is never in doubt. */
  #key;
  request;

  /**
   * @param {{isRepeatable?: boolean, about?: string}} request - see API.send. isRepeatable: doing it twice does no harm.
   *   about: what tells it from others of the same path
   */
  constructor(api, request) {
    this.#api = api;
    this.#key = request.isRepeatable ? null : uuid();
    this.request = request;
  }

  /** The one of this kind whose outcome isn't known, if there is one: it is to be finished first. */
  static unfinished(api, request) {
    return doubts.get(nameOf(api, request)) ?? null;
  }

  get isInDoubt() {
    return Intent.unfinished(this.#api, this.request) === this;
  }

  /** Whether it is about the same, so that it may be sent under the same key. */
  isFor(request) {
    return JSON.stringify(request) === JSON.stringify(this.request);
  }

  /**
   * Sends it, and again under the same key if no answer comes.
   * @param {function(string)} onWait - told why it waits, in a sentence
   */
  async carryOut(signal, onWait) {
    const wasInDoubt = this.isInDoubt;
    const name = nameOf(this.#api, this.request);
    // From the moment that it is on its way.
    if (this.#key) doubts.set(name, this);
    let isUnsent = !wasInDoubt;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await this.#api.send(this.request, this.#key, signal);
        doubts.delete(name);
        return answer;
      } catch (error) {
        if (error instanceof Refusal) {
          // Those of 401 and 403 come before the service looks for an earlier attempt.
          if (isUnsent || ![401, 403].includes(error.status)) doubts.delete(name);
          throw error;
        }
        // So does a 429.
        if (error instanceof NotNow && error.status === 429 && isUnsent) doubts.delete(name);
        else isUnsent = false;
        const isWorthRepeating = error instanceof NotNow && ![429, 500].includes(error.status) && attempt < REPEATS;
        if (!isWorthRepeating) throw error;
        await rest(error, attempt, signal, (reason) => onWait(`${reason}, under the same idempotency key`));
      }
    }
  }
}

/** A random UUID. `crypto.randomUUID` is missing in pages that weren't loaded over https. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = bytes[6] & 0x0f | 0x40;
  bytes[8] = bytes[8] & 0x3f | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
