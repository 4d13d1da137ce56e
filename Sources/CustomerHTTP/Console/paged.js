// A list that comes page by page, with a button for the next page.

import { button, fill, make, table } from "./document.js";
import { listed } from "./records.js";

/** Records that one page has. */
const SIZE = 50;

/**
 * Shows the first page of a list.
 * @param {Element} place - where; its id names the button, too
 * @param {{path: string, query?: object, name: string, columns: string[], order: string, row: function(object): Array}} list -
 *   order: how they are sorted, in words; row: the cells of a record
 */
export async function paged({ session, signal }, place, { path, query = {}, name, columns, order, row }) {
  const add = async (before, cursor) => {
    const page = listed((await session.api.read(path, { ...query, cursor, limit: SIZE }, signal)).text);
    const all = before.concat(page.records);
    fill(place,
      make("p", { class: "dim", role: "status" }, all.length === 0 ? "None." : `${all.length}${page.next ? " and more" : ""}, ${order}.`),
      all.length > 0 ? table(name, columns, all.map(row)) : null,
      page.next ? button("More", () => add(all, page.next).catch(session.report), { id: `more-${place.id}` }) : null);
  };
  await add([], null);
}
