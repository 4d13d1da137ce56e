// A dialog that asks for a decision on a write: first what will happen, then why, then the name typed where there is no
// way back; and what came of it, until that is known.

import { close, show } from "./dialog.js";
import { button, make, visible } from "./document.js";
import { form } from "./form.js";
import { Intent } from "./intent.js";
import { inWords } from "./words.js";

/**
 * What will happen in any case, for `foresee`.
 * @param {...(Node|string|Array)} paragraphs
 */
export const certain = (...paragraphs) => async () =>
  ({ nodes: paragraphs.map((paragraph) => make("p", {}, paragraph)), isPossible: true });

/**
 * Asks for a decision, and carries it out.
 * @param {object} session - whose key it is done with
 * @param {object} decision
 * @param {Node|string|Array} decision.title
 * @param {function(AbortSignal): Promise<{nodes: Node[], isPossible: boolean}>} [decision.foresee] - what will happen
 * @param {object[]} decision.fields - see form.js
 * @param {string} decision.verb - on the button
 * @param {boolean} [decision.isDangerous]
 * @param {function(API, AbortSignal, function(string|null)): Promise<void>} [decision.restsOn] - throws if what it rests on isn't
 *   as the page showed it any more; nothing is sent then (see basis.js)
 * @param {function(object): object} decision.request - the request for the values of the fields
 * @param {function({text: string, status: number}, object): void} decision.done - once it was done
 * @param {function(): void} [decision.reload] - loads again what the page shows; called on closing, too, if that turned out to be
 *   no longer so
 */
export function decide(session, decision) {
  const { foresee, fields, verb, isDangerous = false } = decision;
  const waiting = new AbortController();
  const inputs = form(fields);
  const foreseen = make("div", { class: "foreseen", "aria-live": "polite" });
  const state = make("p", { class: "state", role: "status" });
  const fault = make("div", { class: "notice bad", role: "alert", hidden: true });
  const send = button(verb, () => {}, { type: "submit", class: isDangerous ? "danger" : "primary", id: "decide" });
  const cancel = button("Cancel", () => (sending ? sending.abort(new DOMException("Stopped", "AbortError")) : close(dialog)));
  const body = make("form", { class: "decision", novalidate: true, submit: onSubmit },
    ...inputs.nodes, fault, state, make("div", { class: "actions" }, cancel, send));
  let sending = null;
  let intent = null;
  let ticking = null;
  let isOutdated = false;

  const dialog = show(decision.title, () => [foreseen, body]);
  // What is on its way isn't left alone: the button stops the waiting first.
  dialog.addEventListener("cancel", (event) => { if (sending) event.preventDefault(); });
  dialog.addEventListener("close", () => {
    waiting.abort(new DOMException("Closed", "AbortError"));
    clearInterval(ticking);
    if (isOutdated) decision.reload?.();
  });
  resume();

  /** An earlier one of this kind whose outcome isn't known comes first. */
  async function resume() {
    intent = decision.request && Intent.unfinished(session.api, decision.request({}, true));
    if (intent) {
      freeze();
      return say("The answer to this was lost. It isn't known whether it was done. Try again: it is never done twice.");
    }
    if (!foresee) return;
    body.hidden = true;
    foreseen.replaceChildren(make("p", { class: "dim" }, "Looking what will happen …"));
    try {
      const { nodes, isPossible } = await foresee(waiting.signal);
      foreseen.replaceChildren(...nodes);
      body.hidden = !isPossible;
    } catch (error) {
      if (error.name === "AbortError" && waiting.signal.aborted) return;
      foreseen.replaceChildren();
      say(inWords(error).text);
      body.hidden = false;
      send.hidden = true;
      inputs.nodes.forEach((node) => { node.hidden = true; });
    }
  }

  async function onSubmit(event) {
    event.preventDefault();
    if (sending || send.hidden) return;
    const values = intent?.isInDoubt ? null : inputs.read();
    if (!intent?.isInDoubt) {
      if (values === null) return;
      const request = decision.request(values);
      if (!intent?.isFor(request)) intent = new Intent(session.api, request);
    }
    clearInterval(ticking);
    say(null);
    sending = new AbortController();
    send.disabled = true;
    inputs.freeze(true);
    cancel.textContent = "Stop waiting";
    state.replaceChildren("Working …");
    try {
      const { signal } = sending;
      const onWait = (reason) => state.replaceChildren(...visible(`${reason ?? "Working"} …`));
      // What was sent already may have changed it itself.
      if (!intent.isInDoubt) await decision.restsOn?.(session.api, signal, onWait);
      const answer = await intent.carryOut(signal, onWait);
      sending = null;
      dialog.close();
      decision.done(answer, values ?? {});
    } catch (error) {
      sending = null;
      state.replaceChildren();
      cancel.textContent = "Cancel";
      send.disabled = false;
      inputs.freeze(false);
      failed(error);
    }
  }

  function failed(error) {
    if (error.status === 401) {
      dialog.close();
      return session.report(error);
    }
    if (intent.isInDoubt) freeze();
    const { text, isStale, seconds } = inWords(error, intent.isInDoubt);
    isOutdated ||= isStale;
    say(text, isStale && decision.reload ? button("Load it again", () => dialog.close()) : null);
    send.hidden = isStale;
    if (seconds > 0) countDown(seconds);
  }

  /** What was sent can only be sent again as it was. */
  function freeze() {
    inputs.freeze(true);
    foreseen.replaceChildren();
    send.textContent = "Try again";
  }

  function say(sentence, ...more) {
    fault.hidden = sentence === null;
    fault.replaceChildren(...(sentence === null ? [] : [make("p", {}, sentence), ...more.filter(Boolean)]));
  }

  /** Until the key may be used again. */
  function countDown(seconds) {
    const end = Date.now() + seconds * 1000;
    const label = send.textContent;
    const tick = () => {
      const left = Math.ceil((end - Date.now()) / 1000);
      send.disabled = left > 0;
      send.textContent = left > 0 ? `${label} in ${left} s` : label;
      if (left <= 0) clearInterval(ticking);
    };
    ticking = setInterval(tick, 500);
    tick();
  }
}
