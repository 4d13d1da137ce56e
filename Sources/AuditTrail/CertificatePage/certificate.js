// Shows a certificate, and what verify.js says of it, which comes before this in the page: nothing is loaded from elsewhere.

async function verify(certificate) {
  const verdict = document.getElementById("verdict");
  if (!canVerify()) {
    verdict.textContent = "This browser can't verify a page from here. Open it from a file or by https, or use another program.";
    return;
  }
  const results = await verdicts(certificate, document.getElementById("key").value);
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
    list(section.querySelector("dl"), names.map((name) => [name, disclosed[part][name]]));
  }
  document.getElementById("proof").textContent = certificate.proof;
}

const certificate = JSON.parse(document.getElementById("certificate").textContent);
show(certificate);
document.getElementById("key").addEventListener("input", () => verify(certificate));
await verify(certificate);
