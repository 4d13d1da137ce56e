// Verifies a certificate: docs/audit-chain.md of customerd in JavaScript. Knows nothing of the page: the page of a certificate
// has it before its own script, and the desk loads it as a module.

/** The columns that an entry's hash covers. */
export const CANONICAL = [
  "seq", "id", "app_id", "occurred_at", "recorded_at", "action", "outcome", "status_code", "customer_id",
  "actor_key_id", "actor_client_key", "actor_name", "actor_role", "request_id", "idempotency_key", "error_code",
  "sqlstate", "constraint_name", "referencing_table",
];
/** What may be disclosed, and the columns of each part. */
export const PARTS = {
  subject: ["before_image", "reason", "error_message"],
  context: ["actor_claimed", "ip", "user_agent", "request"],
};

// --- bytes -----------------------------------------------------------------------------------------------------------

const utf8 = new TextEncoder();
const subtle = globalThis.crypto?.subtle;

/** One array of all the bytes. */
export function joined(...chunks) {
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

/** A hash or a salt: what has another length could be bytes of its neighbour. */
function hash(text) {
  const bytes = fromHex(text);
  if (bytes.length !== 32) throw new Error("32 bytes expected");
  return bytes;
}

function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  if (btoa(String.fromCharCode(...bytes)) !== text) throw new Error("base64 expected");
  return bytes;
}

// --- the entry -------------------------------------------------------------------------------------------------------

/** A time as whole microseconds since 1970; exactly, so not as a number. What isn't one stays as it is. */
export function microseconds(text) {
  const match = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{6})Z$/.exec(text);
  if (!match) return text;
  const date = new Date(0);
  date.setUTCFullYear(match[1], match[2] - 1, match[3]);
  date.setUTCHours(match[4], match[5], match[6]);
  // April 31 would be May 1.
  if (date.toISOString().slice(0, 19) !== text.slice(0, 19)) return text;
  return String(BigInt(date.getTime()) * 1000n + BigInt(match[7]));
}

/**
 * The bytes that are hashed: lengths, names and values.
 * @param {Array<[string, string|null]>} columns - names, and values as they were hashed; null for NULL
 */
export function form(columns) {
  const chunks = [];
  const add = (bytes) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, bytes.length);
    chunks.push(length, bytes);
  };
  for (const [name, value] of columns) {
    add(utf8.encode(name));
    chunks.push(Uint8Array.of(value === null ? 0 : 1));
    if (value !== null) add(utf8.encode(value));
  }
  return joined(...chunks);
}

/** Columns of a certificate, as they were hashed. */
const columns = (names, values) => names.map((name) => {
  const value = values[name];
  if (value === undefined) throw new Error(`${name} is missing`);
  return [name, value === null ? null : name.endsWith("ed_at") ? microseconds(value) : String(value)];
});

async function commits(names, values, salt, commitment) {
  // HMAC pads keys with zeros, so that one of another length can give the same.
  const key = await subtle.importKey("raw", hash(salt), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const code = new Uint8Array(await subtle.sign("HMAC", key, form(columns(names, values))));
  return equal(code, fromHex(commitment));
}

// --- the tree: RFC 9162, section 2.1.3.2 -----------------------------------------------------------------------------

async function rootOf(leaf, index, size, path) {
  let value = leaf;
  if (index >= size) throw new Error("the tree is smaller");
  let number = index;
  let last = size - 1;
  const up = () => {
    number = Math.floor(number / 2);
    last = Math.floor(last / 2);
  };
  for (const sibling of path) {
    if (last === 0) throw new Error("the proof is too long");
    if (number % 2 === 1 || number === last) {
      value = await sha256(Uint8Array.of(1), sibling, value);
      while (number % 2 === 0 && number !== 0) up();
    } else {
      value = await sha256(Uint8Array.of(1), value, sibling);
    }
    up();
  }
  if (last !== 0) throw new Error("the proof is too short");
  return value;
}

/** Source: C2SP tlog-proof, tlog-checkpoint, signed-note. Nothing that isn't proven may be in it, such as extra data. */
function parsedProof(text) {
  const parts = text.split("\n\n");
  if (parts.length !== 3 || !parts[2].endsWith("\n") || /[\0-\x09\x0b-\x1f]/.test(text)) throw new Error("it isn't a tlog-proof");
  const lines = parts[0].split("\n");
  if (lines.shift() !== "c2sp.org/tlog-proof@v1") throw new Error("it isn't a tlog-proof");
  const index = /^index (0|[1-9]\d*)$/.exec(lines.shift() ?? "");
  const [origin, size, root] = parts[1].split("\n");
  const path = lines.map(fromBase64);
  const rootHash = fromBase64(root ?? "");
  if (!index || !/.\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(origin) || !/^(0|[1-9]\d*)$/.test(size) || Number(size) > 2 ** 53 || path.length > 63
    || [...path, rootHash].some((item) => item.length !== 32)) throw new Error("it isn't a tlog-proof");
  const signatures = parts[2].slice(0, -1).split("\n").map((line) => {
    const match = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line);
    const bytes = match ? fromBase64(match[2]) : [];
    if (bytes.length <= 4) throw new Error("a signature line is malformed");
    return { name: match[1], id: bytes.slice(0, 4), bytes: bytes.slice(4) };
  });
  return {
    index: Number(index[1]), path, text: `${parts[1]}\n`, origin, size: Number(size), root: rootHash, signatures,
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

// --- form ------------------------------------------------------------------------------------------------------------

const FORMAT = "customerd-certificate-v1";
const NUMBERS = ["seq", "status_code"];
const HASHES = ["previous_hash", "hash", "subject_commitment", "context_commitment"];
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Whether an object has these columns, each of its type or null, and no other member. */
const hasColumns = (values, names) => isObject(values) && Object.keys(values).length === names.length
  && names.every((name) => Object.hasOwn(values, name) && (values[name] === null
    || (NUMBERS.includes(name) ? Number.isSafeInteger(values[name]) : typeof values[name] === "string")));

/** JSON without what its readers could take in more than one way: a member twice, 1.0 and 1e0 for 1, half a character. */
function parsedStrictly(text) {
  const value = JSON.parse(text);
  // It is JSON now, so these are its tokens, and what a colon follows is a name.
  const open = [];
  for (const [token, string, colon] of text.matchAll(/("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?\d[\d.eE+-]*|[{}[\]]/g)) {
    if (token === "{" || token === "[") open.push(new Set());
    else if (token === "}" || token === "]") open.pop();
    else if (!string) {
      if (!/^(0|-?[1-9]\d*)$/.test(token)) throw new Error(`${token} isn't a whole number`);
    } else {
      const name = JSON.parse(string);
      if (/\p{Surrogate}/u.test(name)) throw new Error("half a character is in it");
      if (!colon) continue;
      if (open.at(-1).has(name)) throw new Error(`${name} occurs twice`);
      open.at(-1).add(name);
    }
  }
  return value;
}

/** Whether nothing is in a certificate but what can be proven. */
function isWellFormed({ format, entry, disclosed, proof, ...hashes }) {
  return format === FORMAT && typeof proof === "string" && hasColumns(hashes, HASHES) && hasColumns(entry, CANONICAL)
    && entry.seq !== null && entry.app_id !== null && isObject(disclosed)
    && Object.entries(disclosed).every(([part, values]) => Object.hasOwn(PARTS, part)
      && hasColumns(values, ["salt", ...PARTS[part]]) && values.salt !== null);
}

// --- verification ----------------------------------------------------------------------------------------------------

/** Whether this browser can compute: it lets only files, and pages from secure origins, do so. */
export const canVerify = () => subtle !== undefined;

/** What a text says that is a certificate. An error says why it isn't one: not even what it says can be shown then. */
export function parsedCertificate(text) {
  const certificate = parsedStrictly(text);
  if (!isObject(certificate) || !isWellFormed(certificate)) throw new Error("it has other members than a certificate");
  parsedProof(certificate.proof);
  return certificate;
}

/**
 * Carries the checks out: a sentence each, whether it holds, and why not if there is more to say.
 * @param {string} text - the certificate as it was issued: parsing it would lose what is wrong with it
 */
export async function verdicts(text, keyText) {
  const sentence = "It is a certificate, and nothing else is in it.";
  let certificate;
  try {
    certificate = parsedCertificate(text);
  } catch (error) {
    return [{ sentence, holds: false, reason: error.message }];
  }
  const results = checks(certificate, keyText).map(async ([sentence, check]) => {
    try {
      return { sentence, holds: await check() };
    } catch (error) {
      return { sentence, holds: false, reason: error.message };
    }
  });
  return [{ sentence, holds: true }, ...await Promise.all(results)];
}

/**
 * The checks in order: a sentence each, and what decides whether it holds.
 * @param {string|null} keyText - the public key of the checkpoint; null to leave its signature unchecked
 * @returns {Array<[string, function(): Promise<boolean>]>}
 */
function checks(certificate, keyText) {
  const { entry, disclosed } = certificate;
  const proof = () => parsedProof(certificate.proof);
  const list = [
    ["The hash of the entry is that of its members.", async () => equal(
      await sha256(
        form(columns(CANONICAL, entry)), hash(certificate.subject_commitment), hash(certificate.context_commitment),
        hash(certificate.previous_hash)),
      hash(certificate.hash))],
    ["The proof leads from the entry to the root of the checkpoint.", async () => {
      const { index, path, size, root, origin } = proof();
      const leaf = await sha256(Uint8Array.of(0), hash(certificate.hash));
      return index === entry.seq - 1 && origin.endsWith(`/${entry.app_id}`)
        && equal(await rootOf(leaf, index, size, path), root);
    }],
    ...(keyText === null ? [] : [["The checkpoint is signed with the public key below.", async () => {
      const [{ text, origin, signatures }, key] = [proof(), await parsedKey(keyText)];
      const own = signatures.filter(({ name, id }) => name === key.name && equal(id, key.id));
      const signed = await Promise.all(own.map(({ bytes }) => verifies(key.bytes, bytes, utf8.encode(text))));
      return own.length > 0 && signed.every(Boolean) && origin === `${key.name}/${entry.app_id}`;
    }]]),
  ];
  for (const [part, names] of Object.entries(PARTS)) {
    if (!disclosed[part]) continue;
    list.push([`The disclosed ${part} is what the entry committed to.`,
      () => commits(names, disclosed[part], disclosed[part].salt, certificate[`${part}_commitment`])]);
  }
  return list;
}
