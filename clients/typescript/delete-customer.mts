// Deletes a customer, trying again where that helps. See clients/README.md.
//
// usage: CUSTOMERD_CLIENT_KEY=… CUSTOMERD_CLIENT_SECRET=… node delete-customer.mts CUSTOMER_ID [SECONDS [IDEMPOTENCY_KEY]]

import { randomUUID } from "node:crypto";
import { argv, env, exit, stderr, stdout } from "node:process";

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** There was no final answer in time. Whether the customer is deleted isn't known. */
class GaveUp extends Error {}

function isFinal(answer: Answer): boolean {
  return ![408, 409, 429].includes(answer.status) && answer.status < 500;
}

/** How many seconds the service wants to be left alone. */
function secondsAskedFor(answer: Answer): number {
  const number = (name: string): number | null => {
    const text = answer.headers.get(name) ?? "";
    return /^\d+$/.test(text) ? Number(text) : null;
  };
  const seconds = number("Retry-After") ?? 0;
  const reset = number("X-RateLimit-Reset");
  if (number("X-RateLimit-Remaining") !== 0 || reset === null) return seconds;
  // By the service's clock, which may not be this machine's.
  const now = Date.parse(answer.headers.get("Date") ?? "") || Date.now();
  return Math.max(seconds, reset - now / 1000);
}

const pause = (seconds: number) => new Promise<void>((resolve) => setTimeout(resolve, seconds * 1000));

class Customers {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  constructor(url: string, clientKey: string, clientSecret: string) {
    this.#url = url.replace(/\/+$/, "");
    this.#headers = { "x-client-key": clientKey, "x-client-secret": clientSecret };
  }

  /**
   * The final answer to a deletion, whatever it took.
   * @throws GaveUp when there is none within so many seconds; call it again with the same key then.
   */
  async delete(
    customer: string, idempotencyKey: string, seconds: number, log: (sentence: string) => void = () => {},
  ): Promise<Answer> {
    const deadline = Date.now() + seconds * 1000;
    for (let tries = 0; ; tries += 1) {
      let answer: Answer | null = null;
      let why: string;
      try {
        answer = await this.#try(customer, idempotencyKey, Math.min(15_000, deadline - Date.now()));
        if (isFinal(answer)) return answer;
        why = `the service answered ${answer.status}`;
      } catch (error) {
        why = `there was no answer (${error instanceof Error ? error.message : error})`;
      }
      const jitter = Math.random() * Math.min(10, 0.2 * 2 ** tries);
      const wait = (answer ? secondsAskedFor(answer) : 0) + jitter;
      if (Date.now() + wait * 1000 >= deadline) throw new GaveUp(why);
      log(`${why}; trying again in ${wait.toFixed(3)} s`);
      await pause(wait);
    }
  }

  async #try(customer: string, idempotencyKey: string, milliseconds: number): Promise<Answer> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), Math.max(100, milliseconds));
    try {
      const response = await fetch(`${this.#url}/api/v0/customers/${encodeURIComponent(customer)}`, {
        method: "DELETE",
        headers: { ...this.#headers, "idempotency-key": idempotencyKey },
        signal: timeout.signal,
      });
      return { status: response.status, headers: response.headers, body: await response.text() };
    } finally {
      clearTimeout(timer);
    }
  }
}

async function main([customer, seconds = "60", idempotencyKey = randomUUID()]: string[]): Promise<number> {
  const { CUSTOMERD_URL: url = "http://127.0.0.1:8080", CUSTOMERD_CLIENT_KEY: key, CUSTOMERD_CLIENT_SECRET: secret } = env;
  if (!customer || !key || !secret || !Number.isFinite(Number(seconds))) {
    stderr.write("usage: CUSTOMERD_CLIENT_KEY=… CUSTOMERD_CLIENT_SECRET=… "
      + "node delete-customer.mts CUSTOMER_ID [SECONDS [IDEMPOTENCY_KEY]]\n");
    return 2;
  }
  try {
    const answer = await new Customers(url, key, secret).delete(customer, idempotencyKey, Number(seconds), (sentence) =>
      stderr.write(`delete-customer: ${sentence}\n`));
    stdout.write(`${answer.body}\n`);
    return answer.status === 200 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof GaveUp)) throw error;
    stderr.write(`delete-customer: gave up, ${error.message}; try again with the idempotency key ${idempotencyKey}\n`);
    return 75;
  }
}

exit(await main(argv.slice(2)));
