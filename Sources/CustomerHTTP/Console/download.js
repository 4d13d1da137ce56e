// Files that the page hands over.

/** Saves a text as a file. */
export function save(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
  // Not before the browser has taken it.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
