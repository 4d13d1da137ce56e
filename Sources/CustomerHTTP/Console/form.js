// Fields of a form: a label, a hint, and next to it what is wrong with it. Nothing is disabled until it is right: what is
// wrong is said when it is sent, and the focus goes there.

import { make, value, visible } from "./document.js";

/** Why, for the trail. */
export const reason = {
  name: "reason", label: "Reason", hint: "For the audit trail. Don't put personal data in it.", kind: "textarea", most: 500,
  missing: "Say why, for the audit trail",
};

/**
 * What has to be typed before something that can't be undone is done.
 * @param {string} text - what to type
 * @param {string} what - what that is, such as "the name"
 * @param {string} why - what can't be undone
 */
export const typed = (text, what, why = "This can't be undone.") => ({
  name: "typed", label: ["Type ", value(text, { class: "to-type" }), " to confirm"], hint: `${why} Type ${what}.`.trim(),
  check: (given) => given.replace(/\s+/g, " ").toLowerCase() === text.toLowerCase() ? null : [`Type ${what} as it is shown: `, value(text)],
  missing: ["Type ", value(text), " to confirm"],
});

/** A time in UTC. */
export const time = (name, label, options) => ({ name, label, kind: "datetime-local", ...options });

/** A time as a field for times has it. */
export const asField = (date) => date.toISOString().slice(0, 16);

/**
 * Makes the fields of a form.
 * @param {object[]} fields - name, label, hint, kind, most (characters), missing (what to say if it is empty; without it,
 *   it may be), value, options, check (what is wrong with a value; null for nothing)
 * @returns {{nodes: Node[], read: function(): object|null, freeze: function(boolean)}} read: the values; null, after
 *   having said so, if one of them isn't right
 */
export function form(fields) {
  const made = fields.map(field);
  return {
    nodes: made.map(({ node }) => node),
    read() {
      const faults = made.filter(({ check }) => !check());
      faults[0]?.input.focus();
      return faults.length > 0 ? null : Object.fromEntries(made.map(({ name, text }) => [name, text()]));
    },
    freeze(isFrozen) {
      for (const { node } of made) node.disabled = isFrozen;
    },
  };
}

function field({ name, label, hint, kind = "text", most, missing, value: initial = "", options, check: fault = () => null, ...others }) {
  const id = `field-${name}`;
  const described = [hint && `${id}-hint`, `${id}-fault`].filter(Boolean).join(" ");
  const attributes = { id, name, maxlength: most, "aria-describedby": described, autocomplete: "off", spellcheck: "false", ...others };
  const input = kind === "checks" ? checks(id, options, described)
    : kind === "select" ? make("select", attributes, options.map(([key, text]) => make("option", { value: key, selected: key === initial }, text)))
      : kind === "textarea" ? make("textarea", { ...attributes, rows: 3 })
        : make("input", { ...attributes, type: kind });
  if (initial !== "" && kind !== "select") input.value = initial;
  const error = make("p", { id: `${id}-fault`, class: "fault" });
  const labels = Array.isArray(label) ? label : [label];
  const hints = hint ? make("p", { id: `${id}-hint`, class: "hint" }, hint) : null;
  const node = kind === "checks"
    ? make("fieldset", {}, make("legend", {}, ...labels), hints, error, input)
    // A fieldset as well, so that it can be frozen.
    : make("fieldset", { class: "field" }, make("label", { for: id }, ...labels,
      missing === undefined ? make("span", { class: "optional" }, " (optional)") : null), hints, error, input);
  const text = kind === "checks"
    ? () => [...input.querySelectorAll("input:checked")].map((box) => box.value)
    : () => input.value.replace(/\s+/g, " ").trim();
  return {
    name, node, text, input: kind === "checks" ? input.querySelector("input") : input,
    check() {
      const given = text();
      const wrong = given.length === 0 ? missing ?? null : fault(given);
      const words = wrong === null ? [] : [wrong].flat();
      error.replaceChildren(...words.flatMap((word) => word instanceof Node ? word.cloneNode(true) : visible(word)));
      (kind === "checks" ? input.querySelector("input") : input).setAttribute("aria-invalid", wrong !== null);
      return wrong === null;
    },
  };
}

const checks = (id, options, described) => make("div", { class: "checks", id }, options.map(([key, text]) =>
  make("label", { class: "check" },
    make("input", { type: "checkbox", value: key, checked: true, "aria-describedby": described }), text)));
