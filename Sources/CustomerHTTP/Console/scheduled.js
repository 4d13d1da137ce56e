// The page of scheduled deletions, by their time.

import { callOff } from "./actions.js";
import { decide } from "./decision.js";
import { badge, button, card, fill, make, moment, plain, table } from "./document.js";
import { listed, nameOf, named } from "./records.js";
import { link } from "./router.js";

const HUES = { SCHEDULED: "denied", DELETED: "done", REFUSED: "refused", NOT_FOUND: "nothing", FORBIDDEN: "failed", CANCELLED: "nothing" };
const CHOICES = [["SCHEDULED", "to come"], ["REFUSED", "refused"], ["DELETED", "deleted"], ["NOT_FOUND", "customer was gone"],
  ["FORBIDDEN", "key wasn't permitted any more"], ["CANCELLED", "called off"], ["", "all"]];

export const scheduled = {
  path: "/scheduled",
  title: "Scheduled deletions",
  needs: ["customers:read"],

  async show({ session, place, query, signal }) {
    const wanted = query.has("status") ? query.get("status") : "SCHEDULED";
    const reload = () => this.show({ session, place, query, signal }).catch(session.report);
    const choice = make("select", {
      id: "schedule-status", change: () => { location.hash = link("/scheduled", { status: choice.value || "ALL" }); },
    }, CHOICES.map(([key, label]) => make("option", { value: key, selected: key === wanted || key === "" && wanted === "ALL" }, label)));
    const list = make("div", { id: "schedules" });

    await add([], null);
    fill(place,
      make("h1", { tabindex: -1 }, "Scheduled deletions"),
      card("Deletions",
        make("p", { class: "inline" }, make("label", { for: "schedule-status" }, "Which"), choice),
        list));

    async function add(before, cursor) {
      const { text } = await session.api.read("/api/v0/scheduled-deletions", { status: wanted === "ALL" ? "" : wanted, cursor, limit: 50 }, signal);
      const page = listed(text);
      const all = before.concat(page.records);
      fill(list,
        make("p", { class: "dim", role: "status" }, all.length === 0 ? "None." : `${all.length}${page.next ? " and more" : ""}, by their time.`),
        all.length > 0 ? table("Scheduled deletions", ["time", "customer", "status", "to do"], all.map(row)) : null,
        page.next ? button("More", () => add(all, page.next).catch(session.report), { id: "more-schedules" }) : null);
    }

    function row({ customer_id: id, customer, delete_at: at, status }) {
      const mayCallOff = status === "SCHEDULED" && session.may("customers:delete");
      return [
        moment(at),
        make("a", { href: link(`/customers/${id}`) }, named(customer, id)),
        badge(status, HUES[status] ?? "nothing"),
        mayCallOff ? button("Call off", () => decide(session, {
          ...callOff({ id }, customer, at), reload,
          done() {
            session.say("The deletion is called off.");
            reload();
          },
        }), { id: `call-off-${id}`, "aria-label": `Call off the deletion of ${customer ? plain(nameOf(customer)) : id}` }) : "—",
      ];
    }
  },
};
