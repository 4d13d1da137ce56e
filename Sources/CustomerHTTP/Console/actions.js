// The actions on a customer: which key may, when, and what each does.

import { asShown } from "./basis.js";
import { make, moment, value } from "./document.js";
import { certain } from "./decision.js";
import { asField, reason, time, typed } from "./form.js";
import { isHeld, nameOf, outlook, toType } from "./records.js";
import { save } from "./download.js";
import { kept } from "./json.js";

const DAY = 86_400_000;

/**
 * The actions that a key permits on a customer as it is now.
 * @param {object} session
 * @param {{id: string, record: object|null, etag: string|null, isArchived: boolean, hold: object|null, schedule: object|null,
 *   last: object|null}} customer - record: null once deleted; last: what the trail knows of a deleted one
 * @returns {object[]} decisions (see decision.js) with id, group and label
 */
export function actionsOn(session, customer) {
  return ALL.filter(({ needs, when }) => session.may(...needs) && when(customer))
    .map((action) => ({ ...action, ...action.decision(customer, session) }));
}

const path = ({ id }, tail = "") => `/api/v0/customers/${id}${tail}`;

const lives = ({ record }) => record !== null;

/** The name, for a title or a sentence. */
const who = ({ record, last, id }) => value(nameOf(record ?? last ?? {}) || id);

/** A change of the status, which another one reverts. */
const toStatus = (id, label, status, consequence) => ({
  id, group: "Business", label, needs: ["customers:write"],
  when: (customer) => lives(customer) && customer.record.status !== status,
  decision: (customer) => ({
    title: [`${label}: `, who(customer)], verb: label, fields: [reason],
    foresee: certain(consequence),
    request: ({ reason }) => ({ method: "PATCH", path: path(customer, "/status"), body: { status }, ifMatch: customer.etag, reason }),
    told: () => `The status is ${status} now.`,
  }),
});

/** Whether a deletion is still to come. */
const isToCome = (schedule) => schedule?.status === "SCHEDULED";

/** The foresight of what a deletion would do. */
const checked = (session, customer, more) => async (signal) => {
  const { text } = await session.api.read(path(customer, "/deletion-check"), {}, signal);
  const check = JSON.parse(text);
  return { ...more(check), check };
};

const ALL = [
  toStatus("activate", "Activate", "ACTIVE", "One does business with the customer again."),
  toStatus("blacklist", "Blacklist", "BLACKLISTED", "The record stays, with the status BLACKLISTED. It can be activated again."),
  toStatus("deactivate", "Deactivate", "DEACTIVATED", "The record stays, with the status DEACTIVATED. It can be activated again."),
  {
    id: "archive", group: "Business", label: "Archive", needs: ["customers:delete"],
    when: (customer) => lives(customer) && !customer.isArchived,
    decision: (customer) => ({
      title: ["Archive ", who(customer)], verb: "Archive", fields: [reason],
      foresee: certain("The customer is hidden from lists and takes no new records. Everything it has is kept, and it can be unarchived."),
      request: ({ reason }) => ({ method: "POST", path: path(customer, "/archive"), ifMatch: customer.etag, reason }),
      told: () => "The customer is archived.",
    }),
  },
  {
    id: "unarchive", group: "Business", label: "Unarchive", needs: ["customers:delete"],
    when: (customer) => lives(customer) && customer.isArchived,
    decision: (customer) => ({
      title: ["Unarchive ", who(customer)], verb: "Unarchive", fields: [reason],
      foresee: certain("The customer is in lists again, and takes new records."),
      request: ({ reason }) => ({ method: "POST", path: path(customer, "/unarchive"), ifMatch: customer.etag, reason }),
      told: () => "The customer is in use again.",
    }),
  },
  {
    id: "hold", group: "Keep", label: "Place a hold", needs: ["customers:delete"], when: lives,
    decision: (customer) => ({
      label: customer.hold ? "Change the hold" : "Place a hold",
      title: [customer.hold ? "Change the hold on " : "Place a hold on ", who(customer)],
      verb: customer.hold ? "Change" : "Place the hold",
      fields: [
        { ...reason, hint: "Shown with the hold, and in the audit trail. Don't put personal data in it." },
        time("until", "Until (UTC)", { hint: "Empty: until it is released.", min: asField(new Date()) }),
      ],
      restsOn: asShown(customer.id, "hold", customer.hold),
      foresee: certain("The customer can be neither deleted nor redacted while it is held; a scheduled deletion is refused at its time."),
      request: ({ reason, until }) => ({
        method: "PUT", path: path(customer, "/hold"), ifMatch: customer.etag,
        body: { reason, until: until ? `${until}:00Z` : null },
      }),
      told: () => "The hold is placed.",
    }),
  },
  {
    id: "release", group: "Keep", label: "Release the hold", needs: ["customers:delete"],
    when: (customer) => lives(customer) && customer.hold !== null,
    decision: (customer) => ({
      title: ["Release the hold on ", who(customer)], verb: "Release", fields: [reason],
      restsOn: asShown(customer.id, "hold", customer.hold),
      foresee: certain(
        ["Placed by ", value(customer.hold.placed_by), " on ", moment(customer.hold.placed_at), ": ", value(customer.hold.reason)],
        "Without it, the customer can be deleted and redacted."),
      request: ({ reason }) => ({ method: "DELETE", path: path(customer, "/hold"), ifMatch: customer.etag, reason }),
      told: () => "The hold is released.",
    }),
  },
  {
    id: "schedule", group: "Delete", label: "Schedule the deletion", needs: ["customers:delete"], when: lives, isDangerous: true,
    decision(customer, session) {
      const known = toType(customer.record, customer.id);
      const isScheduled = isToCome(customer.schedule);
      return {
        label: isScheduled ? "Move the scheduled deletion" : "Schedule the deletion",
        title: [isScheduled ? "Move the deletion of " : "Schedule the deletion of ", who(customer)],
        verb: isScheduled ? "Move it" : "Schedule it",
        fields: [
          time("at", "When (UTC)", {
            value: asField(isScheduled ? new Date(customer.schedule.delete_at) : new Date(Date.now() + 30 * DAY)),
            min: asField(new Date()), max: asField(new Date(Date.now() + 365 * DAY)), missing: "Say when",
            hint: "At most a year ahead. Until then it can be called off.",
            check: (at) => Date.parse(`${at}Z`) <= Date.now() ? "It has to be in the future"
              : Date.parse(`${at}Z`) > Date.now() + 365 * DAY ? "It has to be within a year" : null,
          }),
          reason, typed(known.text, known.what, "Once it has run, it can't be undone."),
        ],
        restsOn: asShown(customer.id, "scheduled-deletion", customer.schedule),
        foresee: checked(session, customer, (check) => ({
          nodes: [
            make("p", {}, "At its time the customer is deleted, as if you did it then. These are the prospects now:"),
            ...outlook(check),
            check.deletable ? null : make("p", {}, "If that is still so at its time, the deletion is refused, and the trail says so."),
          ].filter(Boolean),
          isPossible: true,
        })),
        request: ({ at, reason }) => ({
          method: "PUT", path: path(customer, "/scheduled-deletion"), ifMatch: customer.etag, reason,
          body: { at: `${at}:00Z`, reason },
        }),
        told: ({ text }) => `The deletion is scheduled for ${JSON.parse(text).delete_at.slice(0, 16).replace("T", " ")} UTC.`,
      };
    },
  },
  {
    id: "cancel-schedule", group: "Delete", label: "Call the deletion off", needs: ["customers:delete"],
    when: (customer) => lives(customer) && isToCome(customer.schedule),
    decision: (customer) => callOff(customer, customer.record, customer.schedule, customer.etag),
  },
  {
    id: "delete", group: "Delete", label: "Delete", needs: ["customers:delete"], when: lives, isDangerous: true,
    decision(customer, session) {
      const known = toType(customer.record, customer.id);
      const why = session.may("customers:restore") ? "" : undefined;
      return {
        title: ["Delete ", who(customer)], verb: "Delete", fields: [reason, typed(known.text, known.what, why)],
        foresee: checked(session, customer, (check) => ({
          nodes: [
            ...outlook(check),
            check.deletable
              ? make("p", {}, session.may("customers:restore")
                ? "The record goes. It can be restored for a while from the audit trail."
                : "The record is deleted and can't be restored from here. The audit trail keeps what it was.")
              : make("p", {}, isHeld(check) ? "A customer under a hold must be kept. Release the hold first, if you may."
                : "Archive or deactivate the customer instead, or redact its personal data."),
          ],
          isPossible: check.deletable,
        })),
        request: ({ reason }) => ({ method: "DELETE", path: path(customer), ifMatch: customer.etag, reason }),
        told: () => "The customer was deleted.",
      };
    },
  },
  {
    id: "redact", group: "Delete", label: "Redact", needs: ["customers:delete"], when: () => true, isDangerous: true,
    decision(customer, session) {
      const known = toType(customer.record ?? customer.last, customer.id);
      const nodes = [
        make("p", {}, "Erases the name, the email address and the phone number: in the record, in stored answers, and in every entry of the audit trail about this customer, with the reasons given there."),
        make("p", {}, make("strong", {}, "Nothing brings it back."), " Records that refer to the customer stay. The trail still verifies."),
      ];
      return {
        title: ["Redact ", who(customer)], verb: "Redact", fields: [reason, typed(known.text, known.what)],
        foresee: customer.record === null ? async () => ({ nodes, isPossible: true })
          : checked(session, customer, (check) => isHeld(check)
            ? { nodes: [make("p", { class: "bad" }, "The customer is under a hold and must be kept. Release the hold first, if you may.")], isPossible: false }
            : { nodes, isPossible: true }),
        request: ({ reason }) => ({
          method: "POST", path: path(customer, "/redact"), ifMatch: customer.etag, reason,
        }),
        told: ({ status }) => status === 202
          ? "The personal data is erased; the oldest entries of the trail follow in the background, and are hidden meanwhile."
          : "The personal data is erased.",
      };
    },
  },
  {
    id: "restore", group: "Bring back", label: "Restore", needs: ["customers:restore"],
    when: (customer) => !lives(customer),
    decision: (customer, session) => ({
      title: ["Restore ", who(customer)], verb: "Restore", fields: [reason],
      async foresee(signal) {
        const found = await session.api.find(path(customer, "/scheduled-deletion"), {}, signal);
        const schedule = found && JSON.parse(found.text);
        const nodes = [make("p", {}, "Brings the record back as it was when it was deleted, under the same id. It can be deleted again.")];
        if (isToCome(schedule)) {
          nodes.push(make("p", {}, "The deletion that is scheduled for ", moment(schedule.delete_at), " is called off along with it."));
        }
        return { nodes, isPossible: true };
      },
      request: ({ reason }) => ({ method: "POST", path: path(customer, "/restore"), reason }),
      told: () => "The customer is back.",
    }),
  },
  {
    id: "export", group: "Hand out", label: "Export", needs: ["customers:read", "audit:read"], when: () => true,
    decision: (customer) => ({
      title: ["Export what is held about ", who(customer)], verb: "Export", fields: [reason],
      foresee: certain("A file with the record, all records that refer to it and its entries in the audit trail: personal data. The trail will say that you took it."),
      request: ({ reason }) => ({ method: "GET", path: path(customer, "/export"), reason, isRepeatable: true }),
      told({ text }) {
        save(`customer-${customer.id}.json`, text, "application/json");
        // A document that broke off doesn't end.
        return text.trimEnd().endsWith("}") ? "The export is saved." : "The export broke off: the file isn't whole. Export again.";
      },
    }),
  },
];

/** Calling off a scheduled deletion, from the page of the customer or from the list. */
export const callOff = ({ id }, record, schedule, etag = null) => ({
  title: ["Call off the deletion of ", value(nameOf(record ?? {}) || id)], verb: "Call it off", fields: [reason],
  restsOn: asShown(id, "scheduled-deletion", schedule),
  foresee: certain(["It won't be deleted on ", moment(schedule.delete_at), "."]),
  request: ({ reason }) => ({ method: "DELETE", path: `/api/v0/customers/${id}/scheduled-deletion`, ifMatch: etag, reason }),
  told: () => "The deletion is called off.",
});

/** What the trail's newest entry of a deleted customer knows of it. */
export const lastKnown = (entries) => {
  const image = entries.find(({ before_image: image }) => image !== null)?.text.get("before_image");
  return image ? kept(image) : null;
};
