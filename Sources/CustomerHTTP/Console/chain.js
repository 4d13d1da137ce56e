// The chain, computed again: docs/audit-chain.md of the project in JavaScript. Knows nothing of the page.

import { CANONICAL, PARTS, canVerify, form, joined, microseconds } from "./verify.js";

const { subject: SUBJECT, context: CONTEXT } = PARTS;
const NOTHING = "0".repeat(64);

/** Whether this browser can compute: it lets only pages from secure origins (https, or this machine) do so. */
export const canCompute = canVerify;

// --- one entry -------------------------------------------------------------------------------------------------------

/** A time with all of its six digits, which the API leaves out where they are zeros. */
const whole = (time) => time.replace(/(?:\.(\d{1,6}))?Z$/, (_, fraction = "") => `.${fraction.padEnd(6, "0")}Z`);

/** A column as PostgreSQL's text, which is what was hashed; null for NULL. */
function value(entry, name) {
  const parsed = entry[name];
  if (parsed === null || parsed === undefined) return null;
  switch (name) {
    case "occurred_at": case "recorded_at": return microseconds(whole(parsed));
    case "before_image": case "request": case "seq": case "status_code": return entry.text.get(name);
    // The API leaves the prefix of a single address out.
    case "ip": return parsed.includes("/") ? parsed : `${parsed}/${parsed.includes(":") ? 128 : 32}`;
    default: return parsed;
  }
}

/** Columns of an entry, as they were hashed. */
const columns = (names, entry) => names.map((name) => [name, value(entry, name)]);

function bytes(hex) {
  return /^([0-9a-f]{2}){32}$/.test(hex ?? "") ? Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16)) : null;
}

const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

async function commits(entry, commitment, names, salt) {
  const raw = bytes(entry[salt]);
  if (raw === null) return false;
  const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return hex(await crypto.subtle.sign("HMAC", key, form(columns(names, entry)))) === entry[commitment];
}

/** Whether everything that a redaction erases is gone. */
function isErased(entry) {
  return entry.subject_salt === null && entry.customer_id !== null && SUBJECT.every((name) => entry[name] === null);
}

/** Whether everything that a retention erases is gone. */
function isContextErased(entry) {
  return entry.context_salt === null && CONTEXT.slice(0, 3).every((name) => entry[name] === null);
}

/** Up to which seq an entry declares that contexts are erased, or will be; 0 if it doesn't. */
function contextsErasedTo(entry) {
  if (entry.action !== "trail.retention" || entry.outcome !== "SUCCEEDED" || entry.context_salt === null) return 0;
  return Number(/^\{"days": \d+, "up_to": (\d+)\}$/.exec(value(entry, "request") ?? "")?.[1] ?? 0);
}

/** Whether the entry's hash is that of its columns. The salts aren't needed for it. */
export async function hashHolds(entry) {
  const parts = ["subject_commitment", "context_commitment", "previous_hash"].map((name) => bytes(entry[name]));
  if (parts.includes(null)) return false;
  return hex(await crypto.subtle.digest("SHA-256", joined(form(columns(CANONICAL, entry)), ...parts))) === entry.hash;
}

/**
 * Why an entry isn't what was written, as far as its own columns tell; null if it is.
 * @param {object} entry - with its salts
 */
export async function faultOf(entry) {
  if (!await hashHolds(entry)) return "its hash isn't that of its columns";
  if (!isContextErased(entry) && !await commits(entry, "context_commitment", CONTEXT, "context_salt")) {
    return "actor_claimed, ip, user_agent or request isn't what was committed to";
  }
  if (isErased(entry)) return null;
  if (entry.subject_salt === null) return "its subject_salt is gone, but what it protects wasn't redacted";
  if (await commits(entry, "subject_commitment", SUBJECT, "subject_salt")) return null;
  return "before_image, reason or error_message isn't what was committed to";
}

/** Whether an entry declares that the subject data of all earlier entries of its customer is erased, or will be. */
function declaresErasure(entry) {
  return entry.action === "customer.redact" && entry.outcome === "SUCCEEDED";
}

// --- the chain of an app ---------------------------------------------------------------------------------------------

/** Follows a chain from its newest entry down, and then up again over what was appended meanwhile. */
export class ChainCheck {
  /** Entries that were looked at. */
  checked = 0;
  /** The newest entry that was seen: seq, hash, app_id. */
  head = null;
  #below = null;
  #remembered;
  /** By customer, the seq of the newest entry that declares an erasure. */
  #declared = new Map();
  #erased = [];
  #erasedContexts = [];
  /** Retentions: the seq of the entry, and up to which seq it declares. */
  #retentions = [];
  #faults = [];

  /**
   * @param {{seq: number, hash: string, at: string}|null} remembered - a head that this browser verified before
   */
  constructor(remembered = null) {
    this.#remembered = remembered;
  }

  /** Takes the entry below the one taken last. */
  async take(entry) {
    this.head ??= { seq: entry.seq, hash: entry.hash, app_id: entry.app_id };
    const above = this.#below;
    if (above !== null && entry.seq !== above.seq - 1) this.#miss(entry.seq + 1);
    else if (above !== null) this.#link(above, entry);
    await this.#look(entry);
    this.#below = entry;
  }

  /** Takes the entry above the head. */
  async takeNewer(entry) {
    if (entry.seq !== this.head.seq + 1) this.#miss(this.head.seq + 1);
    else this.#link(entry, this.head);
    await this.#look(entry);
    this.head = { seq: entry.seq, hash: entry.hash, app_id: entry.app_id };
  }

  /** Erased entries that no later entry declares. */
  get undeclared() {
    return this.#erased.filter(({ customer, seq }) => !(this.#declared.get(customer) > seq))
      .concat(this.#erasedContexts.filter(({ seq }) =>
        !this.#retentions.some((retention) => retention.seq > seq && retention.to >= seq)));
  }

  /** @returns {{seq: number, id: string|null, reason: string}|null} the first break of the chain, once the last entry was taken. */
  finish() {
    const first = this.#below;
    if (first !== null && first.seq > 1) this.#miss(1);
    if (first !== null && first.seq === 1 && first.previous_hash !== NOTHING) {
      this.#note(1, 2, "the previous_hash of entry 1 isn't 32 zero bytes: entry 1 was replaced", first.id);
    }
    for (const { seq, id, isContext } of this.undeclared) {
      this.#note(seq, 3,
        isContext
          ? `the context of entry ${seq} was erased, but no retention accounts for it`
          : `entry ${seq} was erased, but no redaction accounts for it`,
        id);
    }
    const seen = this.#remembered;
    const size = this.head?.seq ?? 0;
    if (seen !== null && size < seen.seq) {
      this.#note(size + 1, 4, `the chain was cut: it had ${seen.seq} entries when this browser verified it on ${seen.at}`);
    }
    const [least] = this.#faults.sort((a, b) => a.seq - b.seq || a.rank - b.rank);
    return least ? { seq: least.seq, id: least.id, reason: least.reason } : null;
  }

  async #look(entry) {
    const fault = await faultOf(entry);
    if (fault !== null) this.#note(entry.seq, 1, `entry ${entry.seq} was changed: ${fault}`, entry.id);
    if (isErased(entry)) this.#erased.push({ customer: entry.customer_id, seq: entry.seq, id: entry.id });
    if (isContextErased(entry)) this.#erasedContexts.push({ seq: entry.seq, id: entry.id, isContext: true });
    const to = contextsErasedTo(entry);
    if (to > 0) this.#retentions.push({ seq: entry.seq, to });
    if (declaresErasure(entry)) {
      this.#declared.set(entry.customer_id, Math.max(entry.seq, this.#declared.get(entry.customer_id) ?? 0));
    }
    const seen = this.#remembered;
    if (seen !== null && entry.seq === seen.seq && entry.hash !== seen.hash) {
      this.#note(seen.seq, 3,
        `the chain was rewritten at entry ${seen.seq} or before: this browser verified another hash on ${seen.at}`,
        entry.id);
    }
    this.checked += 1;
  }

  #link(above, below) {
    if (above.previous_hash === below.hash) return;
    this.#note(above.seq, 2,
      `the previous_hash of entry ${above.seq} isn't the hash of entry ${below.seq}: one of them was replaced`,
      above.id);
  }

  #miss(seq) {
    this.#note(seq, 0, `entry ${seq} is missing`);
  }

  #note(seq, rank, reason, id = null) {
    this.#faults.push({ seq, rank, reason, id });
  }
}
