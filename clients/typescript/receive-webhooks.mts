// Receives webhooks: verifies each, skips repetitions, and answers only when it is done. See docs/webhooks.md.
//
// usage: WEBHOOK_SECRET=whsec_… node receive-webhooks.mts PORT

import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import { argv, env, exit, stderr, stdout } from "node:process";

/** Seconds that the sender's clock may differ, and a captured delivery stays good. */
const tolerance = 5 * 60;
const largestBody = 64 * 1024;

interface CustomerEvent {
  readonly type: string;
  readonly id: string;
  readonly customer_id: string | null;
}

/** The event, if the delivery was signed with the secret; else it throws. */
function verified(secret: string, headers: IncomingMessage["headers"], body: Buffer): CustomerEvent {
  const header = (name: string): string => String(headers[name] ?? "");
  const timestamp = header("webhook-timestamp");
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > tolerance) {
    throw new Error("the timestamp is missing, too old or too new");
  }
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const hmac = createHmac("sha256", key).update(`${header("webhook-id")}.${timestamp}.`).update(body);
  const expected = Buffer.from(`v1,${hmac.digest("base64")}`);
  // Two of them while a rotation overlaps. The comparison takes the same time wherever the two differ.
  const fits = header("webhook-signature").split(" ").map((one) => Buffer.from(one))
    .some((given) => given.length === expected.length && timingSafeEqual(given, expected));
  if (!fits) throw new Error("no signature fits");
  return JSON.parse(body.toString("utf8"));
}

/** In a database, with a unique key, in the transaction that does the work. Here: as long as the process lives. */
const seen = new Set<string>();

/** What is to be done. If it throws, the answer is a 500, and the event comes again. */
function carryOut(event: CustomerEvent): void {
  if (event.type === "customer.deleted") stdout.write(`remove ${event.customer_id} from the search index\n`);
}

function receive(secret: string, headers: IncomingMessage["headers"], body: Buffer): number {
  let event: CustomerEvent;
  try {
    event = verified(secret, headers, body);
  } catch (error) {
    stderr.write(`refused: ${error}\n`);
    return 401;
  }
  try {
    // The same event may come twice, with the same id.
    if (!seen.has(event.id)) carryOut(event);
    seen.add(event.id);
    return 204;
  } catch (error) {
    stderr.write(`failed: ${error}\n`);
    return 500;
  }
}

const secret = env["WEBHOOK_SECRET"];
const port = Number(argv[2]);
if (secret === undefined || !Number.isInteger(port)) {
  stderr.write("usage: WEBHOOK_SECRET=whsec_… node receive-webhooks.mts PORT\n");
  exit(2);
}

createServer((request, response) => {
  const pieces: Buffer[] = [];
  let length = 0;
  request.on("data", (piece) => {
    length += piece.length;
    if (length <= largestBody) pieces.push(piece);
  });
  request.on("end", () => {
    response.writeHead(length > largestBody ? 413 : receive(secret, request.headers, Buffer.concat(pieces))).end();
  });
}).listen(port, "127.0.0.1");
