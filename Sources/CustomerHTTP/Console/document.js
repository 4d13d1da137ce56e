// Making parts of the page. Text stays text: nothing here can turn a value of the trail into markup, and no character of
// it acts on what is around it.

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
  /(?<![\p{Extended_Pictographic}\p{EMod}\ufe0f])\u200d|[\p{Cc}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]|(?!\u200d)\p{Cf}/gu;

/** A text as nodes, in which hidden characters are spelled out. */
export function visible(text) {
  const nodes = [];
  let end = 0;
  for (const { 0: character, index } of text.matchAll(HIDDEN)) {
    if (index > end) nodes.push(text.slice(end, index));
    const escape = document.createElement("span");
    escape.className = "escape";
    escape.textContent = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    nodes.push(escape);
    end = index + character.length;
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

/** A stored value, isolated with a writing direction of its own; null for none. */
export const value = (text, attributes = {}) =>
  text === null || text === undefined ? null : make("bdi", attributes, text);

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

/** A whole number with separated thousands. */
export const count = (number) => number.toLocaleString("en");
