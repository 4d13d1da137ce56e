// Webhooks: where events are sent, what came of it, and what can be done about it. No reason is asked for: the trail keeps none
// where it names no customer, since no redaction could reach it.

import { pause } from "./api.js";
import { certain, decide } from "./decision.js";
import { show } from "./dialog.js";
import { badge, button, card, facts, fill, make, moment, mono, table, value } from "./document.js";
import { typed } from "./form.js";
import { link } from "./router.js";

const PATH = "/api/v0/webhooks";
const TYPES = ["created", "updated", "status_changed", "archived", "unarchived", "deleted", "deletion_refused", "redacted", "restored",
  "deletion_scheduled", "deletion_cancelled"].map((type) => `customer.${type}`);
/** Attempts that the page shows. */
const SHOWN = 50;
/** Seconds between two looks for new attempts. */
const PACE = 5;
/** Requests of the key that watching leaves to others. */
const RESERVE = 30;

const status = (word) => badge(word, word === "ENABLED" ? "done" : "nothing");

export const webhooks = {
  path: "/webhooks",
  title: "Webhooks",
  needs: ["webhooks:manage"],

  async show({ session, place, signal }) {
    const { data } = JSON.parse((await session.api.read(PATH, {}, signal)).text);
    fill(place,
      make("h1", { tabindex: -1 }, "Webhooks"),
      card("Where events are sent",
        make("div", { class: "actions" }, button("New webhook", () => create(session), { class: "primary", id: "new-webhook" })),
        data.length === 0 ? make("p", {}, "Nowhere yet.")
          : table("Webhooks", ["address", "status", "events", "description"], data.map((each) => [
            make("a", { href: link(`/webhooks/${each.id}`) }, value(each.url)), status(each.status), types(each), each.description,
          ]))));
  },
};

const types = ({ types: some }) => some === null || some.length === TYPES.length ? "all" : some.join(", ");

function create(session) {
  decide(session, {
    title: "New webhook", verb: "Make it",
    fields: [
      { name: "url", label: "Address", hint: "https, and reachable from the internet.", kind: "url", most: 2048, missing: "Say where events go", placeholder: "https://example.com/hooks" },
      { name: "description", label: "Description", most: 500 },
      { name: "types", label: "Events", kind: "checks", options: TYPES.map((type) => [type, type]), missing: "Choose at least one" },
    ],
    request: ({ url, description, types }) => ({
      method: "POST", path: PATH,
      body: { url, description: description || null, types: types?.length === TYPES.length ? null : types },
    }),
    done({ text }) {
      const { id, secret } = JSON.parse(text);
      // Shown there, since leaving a page closes its dialogs.
      session.memory.secret = secret;
      session.go(link(`/webhooks/${id}`), "The webhook is made.");
    },
  });
}

/** The secret, which no later answer has. */
function reveal(secret) {
  const said = make("p", { role: "status", class: "state" });
  show("The secret", () => [
    make("p", {}, "The receiver verifies signatures with it. ", make("strong", {}, "It is shown this once.")),
    make("p", { class: "secret mono", id: "webhook-secret", tabindex: 0 }, secret), said,
    make("div", { class: "actions" }, button("Copy", async () => {
      try {
        // There is no clipboard for pages that weren't loaded over https.
        await navigator.clipboard.writeText(secret);
        said.textContent = "Copied.";
      } catch {
        said.textContent = "The browser refused to copy: select it instead.";
      }
    }, { id: "copy-secret" })),
  ]);
}

export const webhook = {
  path: "/webhooks/:id",
  title: "Webhook",
  needs: ["webhooks:manage"],
  parent: "/webhooks",

  async show({ session, place, id, signal }) {
    const path = `${PATH}/${id}`;
    const found = await session.api.find(path, {}, signal);
    if (!found) return fill(place, make("h1", { tabindex: -1 }, "Webhook"), make("p", { class: "card" }, "There is no such webhook."));
    const hook = JSON.parse(found.text);
    const isOn = hook.status === "ENABLED";
    const host = new URL(hook.url).host;
    const reload = () => this.show({ session, place, id, signal }).catch(session.report);
    const after = (sentence) => () => {
      session.say(sentence);
      reload();
    };
    const act = (key, label, decision, risk = "") =>
      button(label, () => decide(session, { reload, verb: label, ...decision }), { id: `act-${key}`, class: `quiet ${risk}` });
    const list = make("div", { id: "deliveries" });

    fill(place,
      make("div", { class: "title" }, make("p", { class: "back" }, make("a", { href: link("/webhooks") }, "Webhooks")),
        make("h1", { tabindex: -1 }, value(host)), make("p", { class: "badges" }, status(hook.status))),
      make("div", { class: "columns-2" },
        make("div", { class: "column" },
          card("Webhook", facts([["address", hook.url], ["description", hook.description], ["events", types(hook)],
            ["created", moment(hook.createdAt)], ["id", mono(id)]]))),
        make("div", { class: "column side" }, card("What you can do", make("div", { class: "buttons" },
          act("ping", "Ping", {
            title: "Ping", fields: [], verb: "Send a ping", foresee: certain("Sends one event of type ping, and shows what the receiver answers."),
            request: () => ({ method: "POST", path: `${path}/ping`, isRepeatable: true }),
            done({ text }) {
              const { status_code: code, error, duration_ms: duration } = JSON.parse(text);
              session.say(error === null ? `The receiver answered ${code} after ${duration} ms.` : `The ping failed: ${error}.`);
              look().catch(session.report);
            },
          }),
          isOn
            ? act("pause", "Pause", {
              title: "Pause the webhook", fields: [], verb: "Pause it", foresee: certain("Nothing is sent until it goes on. Events wait meanwhile; none is lost."),
              request: () => ({ method: "PATCH", path, body: { status: "DISABLED" } }), done: after("The webhook is paused."),
            })
            : act("resume", "Go on", {
              title: "Go on", fields: [], verb: "Go on", foresee: certain("It goes on where it stopped: events that happened meanwhile are sent first."),
              request: () => ({ method: "PATCH", path, body: { status: "ENABLED" } }), done: after("The webhook goes on."),
            }),
          act("rotate", "Rotate the secret", {
            title: "Rotate the secret", verb: "Make a new secret",
            fields: [{
              name: "overlap", label: "The old secret stays valid for", kind: "select", value: "86400", missing: "Say how long",
              options: [["0", "no longer"], ["3600", "an hour"], ["86400", "a day"]],
            }],
            foresee: certain("Makes a new secret, which is shown once. As long as the old one is valid, deliveries have both signatures."),
            request: ({ overlap }) => ({ method: "POST", path: `${path}/rotate-secret`, body: { overlap_seconds: Number(overlap) } }),
            done({ text }) {
              session.say("The secret is rotated.");
              reveal(JSON.parse(text).secret);
            },
          }),
          act("replay", "Replay", {
            title: "Replay events", verb: "Replay",
            fields: [{
              name: "after", label: "After which position in the trail", hint: "0 sends everything again; the newest position skips what waits.",
              kind: "number", min: 0, missing: "Say after which position", check: (text) => /^\d{1,15}$/.test(text) ? null : "It has to be a whole number",
            }],
            foresee: certain("Goes on behind a position in the audit trail: back, to send events again, or forth, to skip some. The receiver tells repetitions by their id."),
            request: ({ after }) => ({ method: "POST", path: `${path}/replay`, body: { after: Number(after) } }),
            done: after("Events are sent from there on."),
          }, "risky"),
          act("delete", "Delete", {
            title: ["Delete ", value(host)], verb: "Delete", isDangerous: true, fields: [typed(host, "the address of the receiver")],
            foresee: certain("Nothing is sent there any more. The history of its deliveries goes as well."),
            request: () => ({ method: "DELETE", path }),
            done: () => session.go(link("/webhooks"), "The webhook is deleted."),
          }, "risky")))),
        make("div", { class: "column" }, card("Deliveries", list))));

    if (session.memory.secret) reveal(session.memory.secret);
    delete session.memory.secret;
    let known = null;
    await look();
    watch().catch((error) => { if (error.name !== "AbortError") session.report(error); });

    async function look() {
      const { text } = await session.api.read(`${path}/deliveries`, { limit: SHOWN }, signal);
      if (text === known) return;
      known = text;
      const { data } = JSON.parse(text);
      fill(list, make("p", { class: "dim" }, data.length === 0 ? "None yet." : "The last attempts, newest first."),
        data.length > 0 ? table("Attempts to deliver", ["time", "event", "position", "attempt", "answer", "took"], data.map((each) => [
          moment(each.at), each.type, each.seq === null ? null : String(each.seq), String(each.attempt),
          each.error === null ? badge(String(each.status_code), "done")
            : make("span", {}, badge(String(each.status_code ?? "none"), "failed"), " ", value(each.error)),
          `${each.duration_ms} ms`,
        ])) : null);
    }

    async function watch() {
      for (;;) {
        await pause(PACE * 1000, signal);
        if (document.hidden || list.contains(document.activeElement)) continue;
        await session.api.spare(RESERVE, signal);
        await look();
      }
    }
  },
};
