// Making parts of the page. Text stays text: nothing here can turn a value of the trail into markup.

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
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).map((child) =>
    child instanceof Node ? child : String(child)));
  return element;
}

/** Shows a sentence in an element, or hides the element when there is none. */
export function tell(id, sentence) {
  const element = byID(id);
  element.textContent = sentence ?? "";
  element.hidden = !sentence;
}

/** A time of the API to the second, in UTC. */
export function clock(time) {
  const text = String(time);
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(text) ? `${text.slice(0, 10)} ${text.slice(11, 19)}` : text;
}

/** A whole number with its thousands parted. */
export const count = (number) => number.toLocaleString("en");
