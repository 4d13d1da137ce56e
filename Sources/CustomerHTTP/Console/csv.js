// The ids in a list: lines, or a table as spreadsheets write it (RFC 4180; commas, semicolons or tabs).

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Headings of the column that has the ids of customers; the sooner one counts, as `id` may be that of an order or an invoice. */
const HEADINGS = ["customer_id", "customerid", "customer id", "id", "customer"];

/** The most ids that one bulk deletion takes. */
export const MOST = 10_000;

/**
 * The rows of a table, each with the number of its first line.
 * @param {string} text
 * @returns {{found: Array<{line: number, cells: string[]}>, openQuote: number|null}} openQuote: the line of the first quotation mark
 *   at the beginning of a cell whose fellow isn't at the end of one: it may have swallowed any number of rows
 */
function rows(text) {
  const body = text.replace(/^\ufeff/, "");
  const separator = separatorOf(body);
  const found = [];
  let cells = [];
  let cell = "";
  let isQuoted = false;
  let isClosed = false;
  let quote = 0;
  let line = 1;
  let start = 1;
  const endCell = () => {
    cells.push(cell);
    cell = "";
    isClosed = false;
  };
  const endRow = () => {
    endCell();
    if (cells.some((each) => each.trim())) found.push({ line: start, cells });
    cells = [];
    start = line;
  };
  for (let at = 0; at < body.length; at += 1) {
    const character = body[at];
    if (character === "\n" || character === "\r" && body[at + 1] !== "\n") line += 1;
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (body[at + 1] === '"') {
        cell += '"';
        at += 1;
      } else {
        isQuoted = false;
        isClosed = true;
      }
    } else if (isClosed && !/\s/.test(character) && character !== separator) return { found, openQuote: quote };
    else if (character === '"' && cell.trim() === "") {
      cell = "";
      isQuoted = true;
      quote = line;
    } else if (character === separator) endCell();
    else if (character === "\n" || character === "\r" && body[at + 1] !== "\n") endRow();
    else if (character !== "\r") cell += character;
  }
  endRow();
  return { found, openQuote: isQuoted ? quote : null };
}

/** What stands between the cells of the first line: of those that are there at all, the most frequent. */
function separatorOf(text) {
  const first = text.split(/\r?\n|\r/, 1)[0].replace(/"[^"]*"/g, "");
  const [best] = [",", ";", "\t"].map((each) => [each, first.split(each).length]).sort(([, a], [, b]) => b - a);
  return best[0];
}

/**
 * The ids of customers in a text.
 * @returns {{ids: string[], repeated: number, rejected: Array<{line: number, text: string, why: string}>, openQuote: number|null,
 *   columns: Array<{number: number, heading: string}>}} openQuote: see `rows`; there are no ids then. columns: those whose heading
 *   says that they have the ids; they are taken from the first of these
 */
export function idsIn(text) {
  const words = text.trim().toLowerCase().split(/[\s,;]+/);
  // Nothing but ids, however they are separated.
  if (words.every((word) => ID.test(word))) {
    const ids = [...new Set(words)];
    return { ids, repeated: words.length - ids.length, rejected: [], openQuote: null, columns: [] };
  }
  const { found: all, openQuote } = rows(text);
  if (openQuote !== null) return { ids: [], repeated: 0, rejected: [], openQuote, columns: [] };
  const heading = all[0]?.cells.map((cell) => cell.trim().toLowerCase()) ?? [];
  const columns = HEADINGS.flatMap((name) => heading.flatMap((cell, index) => cell === name ? [index] : []));
  const column = columns[0] ?? -1;
  const hasHeading = heading.length > 0 && !heading.some((cell) => ID.test(cell)) && (column >= 0 || heading.length > 1);
  const ids = new Set();
  const rejected = [];
  let repeated = 0;
  for (const { line, cells } of all.slice(hasHeading ? 1 : 0)) {
    const candidates = (column >= 0 ? [cells[column] ?? ""] : cells).map((cell) => cell.trim().toLowerCase()).filter((cell) => ID.test(cell));
    if (candidates.length !== 1) {
      rejected.push({
        line, text: cells.join(" ").trim(),
        why: candidates.length === 0 ? "no id" : "several ids: give the column of the customers the heading id",
      });
    } else if (ids.has(candidates[0])) repeated += 1;
    else ids.add(candidates[0]);
  }
  return {
    ids: [...ids], repeated, rejected, openQuote,
    columns: columns.map((index) => ({ number: index + 1, heading: all[0].cells[index].trim() })),
  };
}

/** The text of a file, as UTF-8 or as spreadsheets write UTF-16. */
export async function textOf(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  return new TextDecoder(encoding).decode(bytes);
}

/** A table in which no cell can be a formula. */
export const written = (table) => table.map((cells) => cells.map((cell) => {
  const text = String(cell ?? "");
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}).join(",")).join("\r\n") + "\r\n";
