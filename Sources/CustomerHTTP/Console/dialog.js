// Dialogs: what is behind them can't be reached, Tab goes around, Escape closes, and the focus returns to where it was.

import { button, make } from "./document.js";

const FOCUSABLE = "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']";

/**
 * Opens a dialog.
 * @param {HTMLDialogElement} dialog - that isn't open
 * @param {HTMLElement} first - what gets the focus
 * @param {function(): boolean} goBack - puts the focus back, or returns false
 */
export function open(dialog, first, goBack = () => false) {
  const before = document.activeElement;
  const id = before?.id;
  dialog.showModal();
  first.focus();
  dialog.addEventListener("keydown", goAround);
  dialog.addEventListener("close", () => {
    dialog.removeEventListener("keydown", goAround);
    if (goBack()) return;
    // It may have been made anew meanwhile, or be gone.
    const place = before?.isConnected ? before : id && document.getElementById(id);
    (place || document.querySelector("h1"))?.focus();
  }, { once: true });
}

function goAround(event) {
  if (event.key !== "Tab") return;
  const all = [...event.currentTarget.querySelectorAll(FOCUSABLE)].filter((element) => element.checkVisibility());
  const [first, last] = [all[0], all.at(-1)];
  const isAtEnd = event.shiftKey
    ? !all.includes(document.activeElement) || document.activeElement === first : document.activeElement === last;
  if (!isAtEnd) return;
  event.preventDefault();
  (event.shiftKey ? last : first)?.focus();
}

/**
 * Makes a dialog that is gone once it is closed, and opens it.
 * @param {string} title
 * @param {function(HTMLDialogElement): Node[]} content
 * @returns {HTMLDialogElement}
 */
export function show(title, content) {
  const heading = make("h2", { id: "dialog-title", tabindex: -1 }, ...(Array.isArray(title) ? title : [title]));
  const dialog = make("dialog", { class: "sheet", "aria-labelledby": "dialog-title" });
  dialog.append(
    make("div", { class: "head" }, heading, button("Close", () => close(dialog), { "aria-label": "Close this dialog" })),
    ...content(dialog));
  document.body.append(dialog);
  open(dialog, heading);
  dialog.addEventListener("close", () => dialog.remove());
  return dialog;
}

/** Closes a dialog, unless it is to stay open for now. */
export function close(dialog) {
  if (dialog.dispatchEvent(new Event("cancel", { cancelable: true }))) dialog.close();
}
