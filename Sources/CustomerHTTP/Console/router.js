// Which page an address asks for: the fragment, which browsers don't send anywhere.

/**
 * The address of a page.
 * @param {string} path - such as /customers
 * @param {object} query - empty values are left out
 */
export function link(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  return `#${path}${given.length > 0 ? `?${new URLSearchParams(given)}` : ""}`;
}

/** The path and the query that the address has now. */
export function asked() {
  const [path, query] = location.hash.slice(1).split("?", 2);
  return { path, query: new URLSearchParams(query) };
}

/**
 * The page of a path, and what the path names.
 * @param {Array<{path: string}>} pages - with `:id` for a UUID
 * @returns {{page: object, id: string|null}|null}
 */
export function find(pages, path) {
  for (const page of pages) {
    const pattern = page.path.replace(":id", "([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})");
    const match = new RegExp(`^${pattern}$`).exec(path);
    if (match) return { page, id: match[1]?.toLowerCase() ?? null };
  }
  return null;
}
