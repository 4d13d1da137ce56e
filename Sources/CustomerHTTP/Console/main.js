// The desk as a whole: who is signed in, and which page is shown.

import { API, Refusal } from "./api.js";
import { bulk, bulkRun } from "./bulk.js";
import { certificate } from "./certificatepage.js";
import { customer } from "./customer.js";
import { customers } from "./customers.js";
import { byID, make, say, tell, value } from "./document.js";
import { asked, find, link } from "./router.js";
import { scheduled } from "./scheduled.js";
import { trail } from "./trailpage.js";
import { webhook, webhooks } from "./webhooks.js";
import { inWords } from "./words.js";

/** Those of the menu first, in its order. */
const PAGES = [customers, scheduled, bulk, webhooks, trail, customer, bulkRun, webhook, certificate];
/** Where the credentials are kept, if they are: gone with the tab, and never part of an address. */
const KEPT = "customerd.credentials";

/** Who is signed in: the API, what the key is and may do, and how pages say something. */
class Session {
  api;
  key;
  /** What pages keep while one is signed in. */
  memory = {};
  /** What the next page says first. */
  arrival = null;

  constructor(api, key) {
    this.api = api;
    this.key = key;
  }

  may(...permissions) {
    return permissions.every((permission) => this.key.permissions.includes(permission));
  }

  /** Says what was done, at the top of the page; null for nothing. */
  say(sentence) {
    tell("notice", sentence);
    if (sentence) this.announce(sentence);
  }

  /** Goes to another page, which says what was done. */
  go(address, sentence) {
    this.arrival = sentence;
    location.hash = address;
  }

  /** Says something to those who don't see the page. */
  announce(sentence) {
    say("announcer", sentence);
  }

  /** Says what went wrong, if it is of interest. */
  report = (error) => {
    if (error.name === "AbortError") return;
    if (error instanceof Refusal && error.status === 401) return signOut(`${error.message}.`);
    tell("error", inWords(error).text);
    if (!(error instanceof Refusal)) console.error(error);
  };
}

let session = null;
/** The page that is shown: itself, what its path names, and what ends its work. */
let shown = null;

// --- pages -----------------------------------------------------------------------------------------------------------

/** Shows the page that the address asks for. */
async function follow() {
  if (!session) return;
  const { path, query } = asked();
  const { page, id } = find(PAGES, path) ?? {};
  if (!page || !session.may(...page.needs)) return stray(path);
  if (shown?.page === page && shown.id === id && page.follow) return attempt(() => page.follow());
  const isNew = shown?.page !== page || shown.id !== id;
  const focused = document.activeElement?.id;
  leave();
  shown = { page, id, work: new AbortController() };
  if (isNew) {
    session.say(session.arrival);
    session.arrival = null;
  }
  tell("error", null);
  document.title = `${page.title} · Desk`;
  const menu = page.parent ?? page.path;
  for (const anchor of byID("menu").querySelectorAll("a")) {
    if (anchor.hash === link(menu)) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const { signal } = shown.work;
  const showing = attempt(() => page.show({ session, place: byID("page"), id, query, signal }));
  if (isNew) scrollTo(0, 0);
  await showing;
  if (signal.aborted || document.querySelector("dialog[open]") !== null) return;
  // To the heading, so that a screen reader reads on from there; or where it was.
  const heading = document.querySelector("main h1:not([hidden] *)");
  ((!isNew && focused && byID(focused)) || heading)?.focus({ preventScroll: true });
}

async function attempt(work) {
  const current = session;
  try {
    await work();
  } catch (error) {
    current.report(error);
  }
}

function leave() {
  shown?.work.abort(new DOMException("Another page was asked for", "AbortError"));
  shown?.page.leave?.();
  shown = null;
  byID("page").replaceChildren();
  delete byID("page").dataset.customer;
  for (const dialog of document.querySelectorAll("dialog.sheet[open]")) dialog.close();
}

/** An address that leads nowhere, or where the key may not go. */
function stray(path) {
  const first = PAGES.find(({ needs }) => session.may(...needs));
  if (path === "" && first) {
    location.replace(link(first.path));
    return;
  }
  leave();
  byID("page").append(make("h1", { tabindex: -1 }, "Nothing here"), make("p", { class: "card" }, first
    ? "There is no such page, or your key may not see it." : "Your key permits nothing that this desk shows."));
  byID("page").querySelector("h1").focus();
}

// --- signing in and out ----------------------------------------------------------------------------------------------

async function signIn({ key, secret, actor }) {
  const submit = byID("login-form").querySelector("button");
  submit.disabled = true;
  tell("login-error", null);
  const api = new API(key, secret, actor);
  api.onWait = (sentence) => tell("login-error", sentence);
  try {
    session = new Session(api, JSON.parse((await api.read("/api/v0/key")).text));
  } catch (error) {
    // Here a 403 means that the address is wrong.
    tell("login-error", error instanceof Refusal && error.status === 403
      ? "Insufficient permissions: the key isn't accepted from here." : inWords(error).text);
    byID("client-key").focus();
    return false;
  } finally {
    submit.disabled = false;
  }
  api.onWait = (sentence) => tell("waiting", sentence);
  byID("menu").replaceChildren(...PAGES.filter(({ path, parent, needs }) => !parent && !path.includes(":") && session.may(...needs))
    .map(({ path, title }) => make("li", {}, make("a", { href: link(path) }, title))));
  byID("whose").replaceChildren(value(session.key.name), ` · ${session.key.role}`, ...(actor ? [" · ", value(actor)] : []));
  byID("whose").title = `${session.key.appId}${session.key.expires_at ? `, valid until ${session.key.expires_at}` : ""}`;
  show(true);
  await follow();
  return true;
}

function signOut(reason = null) {
  leave();
  session = null;
  sessionStorage.removeItem(KEPT);
  byID("client-secret").value = "";
  for (const id of ["notice", "error", "waiting"]) tell(id, null);
  document.title = "Desk · customerd";
  show(false);
  tell("login-error", reason);
  byID("client-key").focus();
}

function show(isSignedIn) {
  byID("login").hidden = isSignedIn;
  for (const id of ["menu", "whose", "sign-out"]) byID(id).hidden = !isSignedIn;
}

byID("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = Object.fromEntries([["key", "client-key"], ["secret", "client-secret"], ["actor", "actor-name"]].map(([name, id]) =>
    [name, byID(id).value.trim()]));
  if (!await signIn(given)) return;
  byID("client-secret").value = "";
  if (byID("remember").checked) sessionStorage.setItem(KEPT, JSON.stringify(given));
});
byID("sign-out").addEventListener("click", () => signOut());
byID("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (document.querySelector("main h1:not([hidden] *)") ?? byID("main")).focus();
});
addEventListener("hashchange", follow);

const kept = sessionStorage.getItem(KEPT);
if (!(kept && await signIn(JSON.parse(kept)))) {
  show(false);
  byID("client-key").focus();
}
