// JSON with its text kept: hashes cover the text of a value, and a number such as 9999999999999999.90 loses digits in
// JavaScript.

const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/**
 * The text of each value of an object or array, byte for byte.
 * @param {string} text - valid JSON
 * @returns {Array<[string|null, string]>} name, null in an array, and text
 */
export function parts(text) {
  const found = [];
  let depth = 0;
  let isObject = false;
  let name = null;
  let start = -1;
  let end = -1;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (depth === 0) {
      if (token !== "{" && token !== "[") break;
      isObject = token === "{";
      depth = 1;
      continue;
    }
    if (depth === 1) {
      if (token === "," || token === "}" || token === "]") {
        if (start >= 0) found.push([name, text.slice(start, end)]);
        if (token !== ",") break;
        name = null;
        start = -1;
        continue;
      }
      if (token === ":") continue;
      if (isObject && name === null) {
        name = JSON.parse(token);
        continue;
      }
    }
    if (start < 0) start = index;
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
    end = index + token.length;
  }
  return found;
}

/** The texts of an object's members by name. */
export const members = (text) => new Map(parts(text));

/**
 * An object of the API: its members parsed, and `text`, a map with the text of each.
 * @param {string} text
 */
export function kept(text) {
  return { ...JSON.parse(text), text: members(text), source: text };
}
