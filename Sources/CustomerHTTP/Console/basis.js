// What a decision rests on beside the record: the hold of a customer, or its scheduled deletion. The API replaces either without
// asking, and the ETag of the record covers neither; so they are read once more before something is sent.

import { moment, value } from "./document.js";
import { Outdated } from "./words.js";

/** By the last part of the path: what of an answer counts, and how it is told what became of it. */
const KINDS = {
  hold: {
    standing: ({ reason, until, placed_at, placed_by }) => ({ reason, until, placed_at, placed_by }),
    appeared: "A hold was placed",
    changed: "The hold was changed",
    gone: "The hold was released, or its time was over,",
    describe: ({ reason, until, placed_by: name }) =>
      [" It is by ", value(name), until ? [", until ", moment(until)] : "", ": “", value(reason), "”."].flat(),
  },
  "scheduled-deletion": {
    // One that has ended is none: neither can it be moved, nor does a new one replace anything.
    standing: ({ delete_at, status }) => status === "SCHEDULED" ? { delete_at } : null,
    appeared: "A deletion was scheduled",
    changed: "The deletion was moved",
    gone: "The deletion ran, or was called off,",
    describe: ({ delete_at: at }) => [" It is set for ", moment(at), "."],
  },
};

/**
 * Makes sure that something still is as the page showed it.
 * @param {string} id - of the customer
 * @param {"hold"|"scheduled-deletion"} kind
 * @param {object|null} shown - as the API answered it when the page was loaded; null for none
 * @returns {function(API, AbortSignal, function(string|null)): Promise<void>} throws `Outdated` if it is another now
 */
export const asShown = (id, kind, shown) => async (api, signal, onWait) => {
  const { standing, appeared, changed, gone, describe } = KINDS[kind];
  const found = await api.find(`/api/v0/customers/${id}/${kind}`, {}, signal, onWait);
  const [before, now] = [shown, found && JSON.parse(found.text)].map((each) => each && standing(each));
  if (JSON.stringify(before) === JSON.stringify(now)) return;
  const what = now === null ? gone : before === null ? appeared : changed;
  throw new Outdated([`${what} after you loaded the page.`, ...(now === null ? [] : describe(now)),
    " Nothing was done. Load it again, and look."]);
};
