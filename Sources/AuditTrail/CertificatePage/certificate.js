// Shows a certificate, and what verify.js says of it, which comes before this in the page: nothing is loaded from elsewhere.

const LABELS = {
  before_image: "Customer before", reason: "Reason", error_message: "Message", actor_claimed: "Claimed actor",
  ip: "Address", user_agent: "User agent", request: "Request",
};

async function verify(text) {
  const verdict = document.getElementById("verdict");
  if (!canVerify()) {
    verdict.textContent = "This browser can't verify a page from here. Open it from a file or by https, or use another program.";
    return;
  }
  const results = await verdicts(text, document.getElementById("key").value);
  document.getElementById("checks").replaceChildren(...results.map(({ sentence, holds, reason }) => {
    const item = document.createElement("li");
    item.dataset.state = holds ? "valid" : "invalid";
    item.textContent = holds ? `✓ ${sentence}` : `✗ Not so: ${sentence}${reason ? ` (${reason})` : ""}`;
    return item;
  }));
  const isValid = results.every(({ holds }) => holds);
  verdict.dataset.state = isValid ? "valid" : "invalid";
  verdict.textContent = isValid
    ? "Valid: the entry stands, unchanged, in the trail that was signed."
    : "NOT valid: see what was verified.";
}

// --- the page --------------------------------------------------------------------------------------------------------

function list(element, pairs) {
  for (const [name, value] of pairs) {
    if (value === null || value === undefined) continue;
    const [term, description, text] = ["dt", "dd", "bdi"].map((tag) => document.createElement(tag));
    term.textContent = name;
    text.textContent = String(value);
    description.append(text);
    element.append(term, description);
  }
}

/** JSON with a line for each member. Its text stays what it is: parsing would round numbers. */
function indented(json) {
  let [text, depth] = ["", 0];
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[^"]/gs)) {
    if (token === "}" || token === "]") depth -= 1;
    const isOpen = text.endsWith("{") || text.endsWith("[");
    if ((isOpen || text.endsWith(",")) && token === " ") continue;
    if (isOpen !== (token === "}" || token === "]") || text.endsWith(",")) text += `\n${"  ".repeat(depth)}`;
    if (token === "{" || token === "[") depth += 1;
    text += token;
  }
  return text;
}

/** What a part says, as a reader wants it. */
function disclosure(name, value) {
  return [LABELS[name], value !== null && (name === "before_image" || name === "request") ? indented(value) : value];
}

/** Which checkpoint the proof is against. What witnesses say of it is shown, but not verified here. */
function signing({ proof, entry }) {
  const { origin, size, signatures } = parsedProof(proof);
  const names = signatures.map(({ name }) => name);
  const signer = origin.slice(0, -entry.app_id.length - 1);
  return [
    ["Signed by", signer], ["Entries covered", size],
    ["Cosignatures", names.filter((name) => name !== signer).join(", ") || null],
  ];
}

function show(certificate) {
  const { entry, disclosed } = certificate;
  document.getElementById("title").textContent = `${entry.action} · ${entry.outcome}`;
  list(document.getElementById("entry"), [
    ["Customer", entry.customer_id], ["Occurred at", entry.occurred_at], ["Recorded at", entry.recorded_at],
    ["By the API key", entry.actor_name], ["Role", entry.actor_role], ["Client key", entry.actor_client_key],
    ["HTTP status", entry.status_code], ["Error", entry.error_code], ["SQLSTATE", entry.sqlstate],
    ["Constraint", entry.constraint_name], ["Refused by table", entry.referencing_table],
    ["Request", entry.request_id], ["Idempotency key", entry.idempotency_key], ["Entry", entry.id],
    ["App", entry.app_id], ["Position in the trail", entry.seq], ["Hash", certificate.hash],
  ]);
  const section = document.getElementById("disclosed");
  for (const [part, names] of Object.entries(PARTS)) {
    if (!disclosed[part]) continue;
    section.hidden = false;
    list(section.querySelector("dl"), names.map((name) => disclosure(name, disclosed[part][name])));
  }
  document.getElementById("proof").textContent = certificate.proof;
  list(document.getElementById("signing"), signing(certificate));
}

const text = document.getElementById("certificate").textContent;
try {
  show(parsedCertificate(text));
} catch {
  // The checks say why; nothing of what can be taken in more than one way is shown.
  document.getElementById("title").textContent = "Not a certificate";
}
document.getElementById("key").addEventListener("input", () => verify(text));
await verify(text);
