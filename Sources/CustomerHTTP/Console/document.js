// Making parts of the page. Text stays text: nothing here can turn a stored value into markup, and no character of it acts
// on what is around it.

/** The element of the page with an id. */
export const byID = (id) => document.getElementById(id);

/**
 * Makes an element.
 * @param {string} name - `svg:` in front of it for one of SVG's
 * @param {object} attributes - a function is a listener, null or false leaves the attribute out
 * @param {...(Node|string|number|null)} children
 */
export function make(name, attributes = {}, ...children) {
  const element = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(attribute, value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(attribute, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).flatMap((child) =>
    child instanceof Node ? child : visible(String(child))));
  return element;
}

/**
 * Characters that act or can't be seen: controls, formats (directions, zero width), separators of lines, fillers.
 * A joiner within an emoji is part of it.
 */
const HIDDEN =
  /(?<![\p{Extended_Pictographic}\p{EMod}\ufe0f])\u200d|[\p{Cc}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]|(?!\u200d)\p{Cf}/u;
/** Marks that pile up on one letter, beyond those that any script needs. */
const PILE = /(?<=\p{M}{6})\p{M}+/u;
const NOTED = new RegExp(`${HIDDEN.source}|${PILE.source}`, "gu");
/** Characters of one value that are shown. */
const MOST = 2000;

/** A text as nodes, in which hidden characters are spelled out, and what would cover other text is counted. */
export function visible(text) {
  const nodes = [];
  const shown = text.slice(0, MOST);
  let end = 0;
  for (const { 0: found, index } of shown.matchAll(NOTED)) {
    if (index > end) nodes.push(shown.slice(end, index));
    nodes.push(escape(HIDDEN.test(found)
      ? `U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}` : `+${count(found.length)} marks`));
    end = index + found.length;
  }
  if (end < shown.length) nodes.push(shown.slice(end));
  if (text.length > MOST) nodes.push(escape(`+${count(text.length - MOST)} characters`));
  return nodes;
}

function escape(text) {
  const element = document.createElement("span");
  element.className = "escape";
  element.textContent = text;
  return element;
}

/** A text as it can be typed: without what can't be seen, one space between words; marks as the keyboard has them. */
export const plain = (text) => text.normalize("NFKC").replace(new RegExp(HIDDEN.source, "gu"), "").replace(/\s+/g, " ").trim();

/** Whether a text piles up marks, as no name does that can be typed. */
export const isPiled = (text) => PILE.test(text);

/** A stored value, isolated with a writing direction of its own; null for none. */
export const value = (text, attributes = {}) =>
  text === null || text === undefined ? null : make("bdi", attributes, text);

/** Replaces what an element holds; the focus stays on what has the same id. */
export function fill(place, ...children) {
  const held = place.contains(document.activeElement) ? document.activeElement.id : null;
  place.replaceChildren(...children.flat().filter(Boolean));
  if (held === null || place.contains(document.activeElement)) return;
  // To what is nearest, if it is gone or can't be pressed any more.
  const same = held && document.getElementById(held);
  (same && !same.disabled ? same : place.querySelector("h1") ?? place.querySelector("button:enabled, a[href], summary"))?.focus();
}

/** Replaces what an element says. */
export function say(id, text) {
  byID(id).replaceChildren(...visible(text));
}

/** Shows a sentence in an element, or hides the element when there is none. */
export function tell(id, sentence) {
  const element = byID(id);
  element.replaceChildren(...visible(sentence ?? ""));
  element.hidden = !sentence;
}

/** A time of the API to the second, in UTC. */
export function clock(time) {
  const text = String(time);
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(text) ? `${text.slice(0, 10)} ${text.slice(11, 19)}` : text;
}

/** The same as an element that has all of it; null for none. */
export const moment = (time) => time === null || time === undefined
  ? null : make("time", { datetime: time, title: time }, `${clock(time)} UTC`);

/** A text in the type of a machine. */
export const mono = (text) => value(text, { class: "mono" });

/** A word in a colored frame. */
export const badge = (word, hue) => make("span", { class: `badge ${hue}` }, word);

/** A list of names and values, without those that are null or empty; null if all are. */
export function facts(pairs, attributes = {}) {
  const given = pairs.filter(([, content]) => content !== null && content !== undefined && content !== "");
  return given.length === 0 ? null : make("dl", attributes, definitions(given));
}

export const definitions = (pairs) => pairs.flatMap(([name, content]) =>
  [make("dt", {}, value(name)), make("dd", {}, content instanceof Node ? content : value(content))]);

/** A part of a page under a heading of its own. */
export function card(title, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return make("section", { class: "card", "aria-labelledby": id }, make("h2", { id }, title), ...children);
}

/**
 * A table that turns into cards where there is no room for it.
 * @param {string} name - what it is a table of
 * @param {string[]} columns
 * @param {Array<Array<Node|string|number|null>>} rows
 */
export const table = (name, columns, rows) => make("div", { class: "scroll", role: "region", "aria-label": name, tabindex: 0 },
  make("table", { class: "rows" },
    make("thead", {}, make("tr", {}, columns.map((column) => make("th", { scope: "col" }, column)))),
    make("tbody", {}, rows.map((row) => make("tr", {}, row.map((cell, index) =>
      make("td", { "data-column": columns[index] }, cell instanceof Node ? cell : value(cell ?? "—"))))))));

/** A button that acts. */
export const button = (label, click, attributes = {}) =>
  make("button", { type: "button", class: "quiet", click, ...attributes }, label);

/** A whole number with separated thousands. */
export const count = (number) => number.toLocaleString("en");
