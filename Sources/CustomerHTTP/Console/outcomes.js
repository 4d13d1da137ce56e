// What the outcomes mean, and what is alike.

/** Groups of outcomes: how a chart stacks and colours them, in this order. */
export const GROUPS = [
  { id: "done", name: "Succeeded", outcomes: ["SUCCEEDED"] },
  { id: "again", name: "Replayed", outcomes: ["REPLAYED"] },
  { id: "refused", name: "Refused", outcomes: ["REFUSED"] },
  { id: "nothing", name: "Nothing to do", outcomes: ["NOT_FOUND", "INVALID", "CONFLICT"] },
  { id: "denied", name: "Denied", outcomes: ["UNAUTHENTICATED", "FORBIDDEN", "RATE_LIMITED"] },
  { id: "failed", name: "Failed", outcomes: ["INTERRUPTED", "FAILED"] },
];

export const OUTCOMES = GROUPS.flatMap((group) => group.outcomes);

const groups = new Map(GROUPS.flatMap((group) => group.outcomes.map((outcome) => [outcome, group.id])));

/** The group of an outcome; one that this page doesn't know counts as a failure, to be looked at. */
export const groupOf = (outcome) => groups.get(outcome) ?? "failed";

/** How many attempts an entry stands for: more than one where a flood was folded. */
export const attempts = (entry) => Number.isInteger(entry.request?.folded) ? entry.request.folded : 1;

/** One sentence for what happened. */
export function meaning(entry) {
  switch (entry.outcome) {
    case "SUCCEEDED": return entry.action === "customer.delete" ? "The customer was deleted." : "The change was made.";
    case "REFUSED":
      return `Refused: rows of ${entry.referencing_table} refer to the customer (${entry.constraint_name}).`;
    case "NOT_FOUND": return "There was no such customer.";
    case "INVALID": return `The request was malformed: ${entry.error_message ?? "no reason recorded"}`;
    case "UNAUTHENTICATED": return "The credentials were wrong.";
    case "FORBIDDEN": return "The key lacks the permission.";
    case "RATE_LIMITED": return "The key was over its rate limit.";
    case "CONFLICT": return entry.error_message ?? "It conflicted with another request.";
    case "REPLAYED": return "The stored answer of an earlier request with this idempotency key was returned.";
    case "INTERRUPTED": return "It was interrupted before an answer was sent; nothing was changed.";
    default: return `It failed: ${entry.error_message ?? "no reason recorded"}`;
  }
}
