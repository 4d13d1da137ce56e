// The page of scheduled deletions, by their time.

import { callOff } from "./actions.js";
import { decide } from "./decision.js";
import { badge, button, card, fill, make, moment, plain } from "./document.js";
import { paged } from "./paged.js";
import { nameOf, named } from "./records.js";
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

    await paged({ session, signal }, list, {
      path: "/api/v0/scheduled-deletions", query: { status: wanted === "ALL" ? "" : wanted }, name: "Scheduled deletions",
      columns: ["time", "customer", "status", "to do"], order: "by their time", row,
    });
    fill(place,
      make("h1", { tabindex: -1 }, "Scheduled deletions"),
      card("Deletions",
        make("p", { class: "inline" }, make("label", { for: "schedule-status" }, "Which"), choice),
        list));

    function row({ customer_id: id, customer, delete_at: at, status }) {
      const mayCallOff = status === "SCHEDULED" && session.may("customers:delete");
      return [
        moment(at),
        make("a", { href: link(`/customers/${id}`) }, named(customer, id)),
        badge(status, HUES[status] ?? "nothing"),
        mayCallOff ? button("Call off", () => decide(session, {
          ...callOff({ id }, customer, { delete_at: at, status }), reload,
          done() {
            session.say("The deletion is called off.");
            reload();
          },
        }), { id: `call-off-${id}`, "aria-label": `Call off the deletion of ${customer ? plain(nameOf(customer)) : id}` }) : "—",
      ];
    }
  },
};
