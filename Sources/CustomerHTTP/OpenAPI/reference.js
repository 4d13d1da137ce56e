// A field that filters the operations, and this service's own address in the commands. The page works without either.
"use strict";

const preparation = document.querySelector("#preparation code");
preparation.textContent = preparation.textContent.replace(/^URL=.*$/m, `URL=${location.origin}`);

const label = document.createElement("label");
label.textContent = "Filter";
const field = document.createElement("input");
field.type = "search";
field.name = "filter";
field.placeholder = "delete, webhooks, /audit …";
const count = document.createElement("p");
count.setAttribute("role", "status");
label.append(field);
document.querySelector("#filter").append(label, count);

const filter = () => {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const element of document.querySelectorAll("[data-words]")) {
    element.hidden = !words.every((word) => element.dataset.words.includes(word));
  }
  // Groups without an operation, and what isn't an operation, are hidden as well.
  for (const group of document.querySelectorAll("nav ul")) {
    group.hidden = group.previousElementSibling.hidden = !group.querySelector("li:not([hidden])");
  }
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = words.length > 0 && !section.querySelector("article[data-words]:not([hidden])");
  }
  const left = document.querySelectorAll("nav li:not([hidden])").length;
  count.textContent = words.length ? `${left} ${left === 1 ? "operation" : "operations"}` : "";
};

field.addEventListener("input", filter);
field.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  field.value = "";
  filter();
});

// A link to what is hidden shows everything again.
window.addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target?.closest("[hidden]")) return;
  field.value = "";
  filter();
  target.scrollIntoView();
});
