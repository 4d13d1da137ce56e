// What an answer means for the person in front of it, and what to do about it.

import { NotNow, Refusal } from "./api.js";

/** Something isn't as the page showed it any more, so nothing was sent. */
export class Outdated extends Error {
  /** @param {Array<Node|string>} words - what became of it */
  constructor(words) {
    super("The page is outdated");
    this.words = words;
  }
}

const SENTENCES = {
  "Customer not found": "There is no such customer any more. Nothing was done.",
  "Hold not found": "There is no hold any more. Nothing was done.",
  "Scheduled deletion not found": "No deletion is scheduled any more: it ran, or was called off. Look at the history.",
  "Webhook not found": "There is no such webhook any more. Nothing was done.",
  "Customer is under a hold": "The customer is under a hold and must be kept. Nothing was done. Release the hold first, if you may.",
  "Customer already exists": "The customer exists: it was restored, or made again, meanwhile. Nothing was done.",
  "Customer can no longer be restored":
    "It is too late: the deletion is too long ago, or the personal data was erased. Nothing was done.",
  "An app can have at most 20 webhooks": "There are 20 webhooks, which is all there can be. Delete one that isn't needed.",
  "webhooks are off: the service has no CUSTOMERD_SECRETS_KEY":
    "Webhooks are off, and nothing was done. Ask the operator to set CUSTOMERD_SECRETS_KEY.",
  "Customer cannot be deleted.":
    "Records refer to the customer, so it can't be deleted. Nothing was done. Load the page again to see which.",
  "Insufficient permissions": "Your key may not do this, or not from here. Ask the person who issued it.",
};

/**
 * @param {Error} error
 * @param {boolean} isInDoubt - whether it was a write whose outcome isn't known
 * @returns {{text: string|Array<Node|string>, isStale: boolean, seconds: number|null}} isStale: what the page shows is no longer so.
 *   seconds: after which it can be tried again; null if that doesn't help
 */
export function inWords(error, isInDoubt = false) {
  if (error.name === "AbortError") {
    return told(isInDoubt
      ? "You stopped waiting. It isn't known whether it was done. Try again: it is never done twice." : "It was stopped.", 0);
  }
  if (error instanceof Outdated) return { ...told(error.words), isStale: true };
  if (error instanceof NotNow) return told(passing(error, isInDoubt), error.seconds ?? 0);
  if (!(error instanceof Refusal)) return told(`${error.message}.`);
  if (error.status === 412) {
    return { ...told("The record was changed after you loaded it. Nothing was done. Load it again, and look."), isStale: true };
  }
  if (error.status === 422) return told("Something else was done under this idempotency key. Close this and begin again.");
  const text = SENTENCES[error.message] ?? `${error.message.replace(/\.$/, "")}.`;
  return { ...told(text), isStale: [404, 409].includes(error.status) || error.message === "Customer cannot be deleted." };
}

const told = (text, seconds = null) => ({ text, isStale: false, seconds });

function passing({ status, seconds, message }, isInDoubt) {
  const doubt = isInDoubt ? " It isn't known whether it was done. Try again: it is never done twice." : "";
  switch (status) {
    case 429: {
      const time = new Date(Date.now() + (seconds ?? 1) * 1000).toTimeString().slice(0, 8);
      const nothing = isInDoubt ? "" : " Nothing was done.";
      return `Your key has asked too often.${nothing} It can be used again at ${time}, in ${seconds ?? 1} s.${doubt}`;
    }
    case 409: return `The first attempt is still under way.${doubt}`;
    case 500: return `Something went wrong in the service.${doubt || " Try again, or tell the operator."}`;
    case null: return `No answer came: the service can't be reached.${doubt}`;
    default: return `The service can't do it at the moment (${message}).${doubt || " Try again."}`;
  }
}
