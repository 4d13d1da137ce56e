// Outcomes by hour: an SVG of stacked bars, drawn here, and the same numbers as a table.

import { byID, count, make } from "./document.js";
import { GROUPS, attempts, groupOf } from "./outcomes.js";

const HOUR = 3_600_000;
const HOURS = 24;
const HEIGHT = 168;
const MARGIN = { top: 10, right: 4, bottom: 22, left: 34 };

export class Chart {
  #hours = [];
  #known = 0;
  #onHour;

  /** @param {function(number)} onHour - called with the start of an hour that was chosen */
  constructor(onHour) {
    this.#onHour = onHour;
    byID("legend").append(...GROUPS.map((group) =>
      make("li", {}, make("span", { class: `swatch ${group.id}` }), group.name)));
    new ResizeObserver(() => this.#draw()).observe(byID("chart"));
  }

  /**
   * Shows the 24 hours up to a moment.
   * @param {object[]} entries - newest first
   * @param {number} end - milliseconds since 1970
   * @param {number} known - since when no entry is missing
   */
  show(entries, end, known) {
    const last = Math.floor(end / HOUR) * HOUR;
    this.#known = known;
    this.#hours = Array.from({ length: HOURS }, (_, index) => ({ start: last - (HOURS - 1 - index) * HOUR, counts: {} }));
    for (const entry of entries) {
      const hour = this.#hours[Math.floor((Date.parse(entry.occurred_at) - this.#hours[0].start) / HOUR)];
      if (!hour) continue;
      const group = groupOf(entry.outcome);
      hour.counts[group] = (hour.counts[group] ?? 0) + attempts(entry);
    }
    this.#draw();
    this.#tabulate();
  }

  /** The first moment that the chart shows. */
  get start() {
    return this.#hours[0]?.start ?? 0;
  }

  #isKnown(hour) {
    return hour.start >= this.#known;
  }

  #draw() {
    const place = byID("chart");
    const width = Math.max(240, Math.floor(place.clientWidth));
    if (this.#hours.length === 0 || place.clientWidth === 0) return;
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const top = ceiling(Math.max(1, ...this.#hours.map(total)));
    const y = (value) => MARGIN.top + inner.height * (1 - value / top);
    const step = inner.width / HOURS;
    const grid = [0, top / 2, top].filter(Number.isInteger).map((value) => [
      make("svg:line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
      make("svg:text", { class: "label", x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)),
    ]);
    const every = width < 560 ? 6 : 3;
    const bars = this.#hours.map((hour, index) => {
      const x = MARGIN.left + index * step;
      let sum = 0;
      const segments = GROUPS.filter(({ id }) => hour.counts[id]).map(({ id }) => {
        const from = sum;
        sum += hour.counts[id];
        return make("svg:rect", {
          class: `part ${id}`, x: x + step * 0.14, width: step * 0.72, y: y(sum), height: Math.max(1, y(from) - y(sum)),
        });
      });
      const label = new Date(hour.start).getUTCHours();
      return make("svg:g", { class: "hour", click: () => this.#onHour(hour.start) },
        make("svg:title", {}, this.#sentence(hour)),
        make("svg:rect", {
          class: this.#isKnown(hour) ? "ground" : "ground unknown", x, width: step, y: MARGIN.top, height: inner.height,
        }),
        segments,
        label % every === 0
          ? make("svg:text", { class: "label", x: x + step / 2, y: HEIGHT - 6, "text-anchor": "middle" },
            `${String(label).padStart(2, "0")}:00`)
          : null);
    });
    place.replaceChildren(make("svg:svg", {
      role: "img", "aria-label": this.#summary(), width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`,
    }, grid.flat(), bars));
  }

  #summary() {
    const sums = GROUPS.map(({ id, name }) => [name, this.#hours.reduce((sum, hour) => sum + (hour.counts[id] ?? 0), 0)]);
    const all = sums.filter(([, sum]) => sum > 0).map(([name, sum]) => `${name} ${count(sum)}`).join(", ");
    return `Attempts of 24 hours up to ${label(this.#hours.at(-1).start + HOUR)} UTC: ${all || "none"}. ` +
      "The table below has them by hour.";
  }

  #sentence(hour) {
    const counts = GROUPS.filter(({ id }) => hour.counts[id]).map(({ id, name }) => `${name} ${count(hour.counts[id])}`);
    const range = `${label(hour.start)}–${label(hour.start + HOUR).slice(-5)} UTC`;
    return `${range}: ${counts.join(", ") || "none"}${this.#isKnown(hour) ? "" : " (not all loaded)"}`;
  }

  #tabulate() {
    const head = make("tr", {}, make("th", { scope: "col" }, "Hour (UTC)"),
      GROUPS.map(({ name }) => make("th", { scope: "col" }, name)));
    const rows = this.#hours.toReversed().map((hour) => make("tr", {},
      make("th", { scope: "row" }, make("button", {
        type: "button", class: "link", click: () => this.#onHour(hour.start),
        "aria-label": `Show the attempts from ${label(hour.start)} UTC`,
      }, label(hour.start)), this.#isKnown(hour) ? null : " (not all loaded)"),
      GROUPS.map(({ id }) => make("td", {}, count(hour.counts[id] ?? 0)))));
    // What has the focus in it is replaced only when it is asked for again.
    const table = byID("chart-table");
    if (table.contains(document.activeElement) && document.activeElement !== table) return;
    table.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, rows)));
  }
}

const total = (hour) => Object.values(hour.counts).reduce((sum, value) => sum + value, 0);

const label = (time) => new Date(time).toISOString().slice(0, 16).replace("T", " ");

const short = (value) => value >= 10_000 ? `${Math.round(value / 1000)}k` : count(value);

/** The next round number. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [10, 12, 16, 20, 30, 40, 60, 80, 100].map((tenths) => tenths * power / 10)
    .find((round) => round >= value && Number.isInteger(round));
}
