// Shows a certificate and verifies it: docs/audit-chain.md of customerd in JavaScript, without anything from elsewhere.

const CANONICAL = [
  "seq", "id", "app_id", "occurred_at", "recorded_at", "action", "outcome", "status_code", "customer_id",
  "actor_key_id", "actor_client_key", "actor_name", "actor_role", "request_id", "idempotency_key", "error_code",
  "sqlstate", "constraint_name", "referencing_table",
];
const PARTS = {
  subject: ["before_image", "reason", "error_message"],
  context: ["actor_claimed", "ip", "user_agent", "request"],
};
const LABELS = {
  before_image: "Customer before", reason: "Reason", error_message: "Message", actor_claimed: "Claimed actor",
  ip: "Address", user_agent: "User agent", request: "Request",
};

// --- bytes -----------------------------------------------------------------------------------------------------------

const utf8 = new TextEncoder();
const subtle = globalThis.crypto?.subtle;

function joined(...chunks) {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

const equal = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index]);
const digest = async (kind, ...chunks) => new Uint8Array(await subtle.digest(kind, joined(...chunks)));
const sha256 = (...chunks) => digest("SHA-256", ...chunks);

function fromHex(text) {
  if (typeof text !== "string" || !/^([0-9a-f]{2})*$/.test(text)) throw new Error("hex expected");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (btoa(String.fromCharCode(...bytes)) !== text) throw new Error("base64 expected");
  return bytes;
}

// --- the entry -------------------------------------------------------------------------------------------------------

/** A time as whole microseconds since 1970; exactly, so not as a number. */
function microseconds(text) {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z$/.exec(text);
  if (!match) return text;
  const date = new Date(0);
  date.setUTCFullYear(match[1], match[2] - 1, match[3]);
  date.setUTCHours(match[4], match[5], match[6]);
  return String(BigInt(date.getTime()) * 1000n + BigInt(match[7]));
}

function form(names, values) {
  const chunks = [];
  const add = (bytes) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, bytes.length);
    chunks.push(length, bytes);
  };
  for (const name of names) {
    const value = values[name];
    if (value === undefined) throw new Error(`${name} is missing`);
    add(utf8.encode(name));
    chunks.push(Uint8Array.of(value === null ? 0 : 1));
    if (value !== null) add(utf8.encode(name.endsWith("ed_at") ? microseconds(value) : String(value)));
  }
  return joined(...chunks);
}

async function commits(names, values, salt, commitment) {
  const key = await subtle.importKey("raw", fromHex(salt), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const code = new Uint8Array(await subtle.sign("HMAC", key, form(names, values)));
  return equal(code, fromHex(commitment));
}

// --- the tree: RFC 9162, section 2.1.3.2 -----------------------------------------------------------------------------

async function rootOf(hash, index, size, path) {
  let number = index;
  let last = size - 1;
  const up = () => {
    number = Math.floor(number / 2);
    last = Math.floor(last / 2);
  };
  for (const sibling of path) {
    if (last === 0) throw new Error("the proof is too long");
    if (number % 2 === 1 || number === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      while (number % 2 === 0 && number !== 0) up();
    } else {
      hash = await sha256(Uint8Array.of(1), hash, sibling);
    }
    up();
  }
  if (last !== 0) throw new Error("the proof is too short");
  return hash;
}

/** Source: C2SP tlog-proof, tlog-checkpoint, signed-note. */
function parsedProof(text) {
  const parts = text.split("\n\n");
  if (parts.length !== 3) throw new Error("it isn't a tlog-proof");
  const lines = parts[0].split("\n");
  if (lines.shift() !== "c2sp.org/tlog-proof@v1") throw new Error("it isn't a tlog-proof");
  if (lines[0]?.startsWith("extra ")) lines.shift();
  const index = /^index (0|[1-9]\d*)$/.exec(lines.shift() ?? "");
  const [origin, size, root] = parts[1].split("\n");
  if (!index || !/^[1-9]\d*$/.test(size)) throw new Error("it isn't a tlog-proof");
  const signatures = parts[2].trimEnd().split("\n").map((line) => {
    const match = /^\u2014 (\S+) (\S+)$/.exec(line);
    if (!match) throw new Error("a signature line is malformed");
    const bytes = fromBase64(match[2]);
    return { name: match[1], id: bytes.slice(0, 4), bytes: bytes.slice(4) };
  });
  return {
    index: Number(index[1]), path: lines.map(fromBase64), text: `${parts[1]}\n`, origin, size: Number(size),
    root: fromBase64(root), signatures,
  };
}

// --- Ed25519 ---------------------------------------------------------------------------------------------------------

async function verifies(key, signature, message) {
  try {
    const imported = await subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
    return await subtle.verify({ name: "Ed25519" }, imported, signature, message);
  } catch {
    // This browser's WebCrypto lacks Ed25519.
    return verifiesPlainly(key, signature, message);
  }
}

// RFC 8032, section 5.1, with points in extended coordinates (X, Y, Z, T).
const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const mod = (value) => ((value % P) + P) % P;

function power(base, exponent) {
  let result = 1n;
  for (base = mod(base); exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = result * base % P;
    base = base * base % P;
  }
  return result;
}

const inverse = (value) => power(value, P - 2n);
const D = mod(-121665n * inverse(121666n));
const number = (bytes) => bytes.reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);

function sum(a, b) {
  const first = mod((a[1] - a[0]) * (b[1] - b[0]));
  const second = mod((a[1] + a[0]) * (b[1] + b[0]));
  const third = mod(2n * a[3] * b[3] * D);
  const fourth = mod(2n * a[2] * b[2]);
  const [e, f, g, h] = [second - first, fourth - third, fourth + third, second + first];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function times(scalar, point) {
  let result = [0n, 1n, 1n, 0n];
  for (; scalar > 0n; scalar >>= 1n) {
    if (scalar & 1n) result = sum(result, point);
    point = sum(point, point);
  }
  return result;
}

function point(bytes) {
  const encoded = number(bytes);
  const sign = encoded >> 255n;
  const y = encoded & (1n << 255n) - 1n;
  if (y >= P) return null;
  const square = mod((y * y - 1n) * inverse(D * y * y + 1n));
  let x = power(square, (P + 3n) / 8n);
  if (mod(x * x - square)) x = mod(x * power(2n, (P - 1n) / 4n));
  if (mod(x * x - square) || (x === 0n && sign)) return null;
  if ((x & 1n) !== sign) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

async function verifiesPlainly(key, signature, message) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const [owner, commitment, response] = [point(key), point(signature.slice(0, 32)), number(signature.slice(32))];
  if (!owner || !commitment || response >= ORDER) return false;
  const base = point(Uint8Array.of(0x58, ...new Uint8Array(31).fill(0x66)));
  const challenge = number(await digest("SHA-512", signature.slice(0, 32), key, message)) % ORDER;
  const [left, right] = [times(response, base), sum(commitment, times(challenge, owner))];
  return !mod(left[0] * right[2] - right[0] * left[2]) && !mod(left[1] * right[2] - right[1] * left[2]);
}

/** A verifier key: name, id, and 32 bytes. Source: C2SP signed-note. */
async function parsedKey(text) {
  const parts = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim());
  const bytes = parts && fromBase64(parts[3]);
  if (!bytes || bytes.length !== 33 || bytes[0] !== 1) throw new Error("it isn't a verifier key");
  const id = (await sha256(utf8.encode(parts[1]), Uint8Array.of(10), bytes)).slice(0, 4);
  if (!equal(id, fromHex(parts[2]))) throw new Error("its id isn't that of the key");
  return { name: parts[1], id, bytes: bytes.slice(1) };
}

// --- verification ----------------------------------------------------------------------------------------------------

/** The checks in order: a sentence each, and what decides whether it holds. */
function checks(certificate, keyText) {
  const { entry, disclosed } = certificate;
  const proof = () => parsedProof(certificate.proof);
  const list = [
    ["The hash of the entry is that of its members.", async () => equal(
      await sha256(
        form(CANONICAL, entry), fromHex(certificate.subject_commitment), fromHex(certificate.context_commitment),
        fromHex(certificate.previous_hash)),
      fromHex(certificate.hash))],
    ["The proof leads from the entry to the root of the checkpoint.", async () => {
      const { index, path, size, root, origin } = proof();
      const leaf = await sha256(Uint8Array.of(0), fromHex(certificate.hash));
      return index === entry.seq - 1 && origin.endsWith(`/${entry.app_id}`)
        && equal(await rootOf(leaf, index, size, path), root);
    }],
    ["The checkpoint is signed with the public key below.", async () => {
      const [{ text, origin, signatures }, key] = [proof(), await parsedKey(keyText)];
      const own = signatures.filter(({ name, id }) => name === key.name && equal(id, key.id));
      const verdicts = await Promise.all(own.map(({ bytes }) => verifies(key.bytes, bytes, utf8.encode(text))));
      return own.length > 0 && verdicts.every(Boolean) && origin === `${key.name}/${entry.app_id}`;
    }],
  ];
  for (const [part, names] of Object.entries(PARTS)) {
    if (!disclosed[part]) continue;
    list.push([`The disclosed ${part} is what the entry committed to.`,
      () => commits(names, disclosed[part], disclosed[part].salt, certificate[`${part}_commitment`])]);
  }
  return list;
}

async function verify(certificate) {
  const verdict = document.getElementById("verdict");
  if (!subtle) {
    verdict.textContent = "This browser can't verify a page from here. Open it from a file or by https, or use another program.";
    return;
  }
  const results = await Promise.all(checks(certificate, document.getElementById("key").value).map(
    async ([sentence, check]) => {
      try {
        return { sentence, holds: await check() };
      } catch (error) {
        return { sentence, holds: false, reason: error.message };
      }
    }));
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
  try {
    list(document.getElementById("signing"), signing(certificate));
  } catch {
    // A proof that can't be read is told of by the checks.
  }
}

const certificate = JSON.parse(document.getElementById("certificate").textContent);
show(certificate);
document.getElementById("key").addEventListener("input", () => verify(certificate));
await verify(certificate);
