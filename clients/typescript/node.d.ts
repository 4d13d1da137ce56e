// The little of Node that the clients use, so that they compile without @types/node.

declare module "node:buffer" {
  export interface Buffer extends Uint8Array {
    toString(encoding?: "utf8"): string;
  }
  export const Buffer: {
    from(text: string, encoding?: "base64" | "utf8"): Buffer;
    concat(pieces: readonly Buffer[]): Buffer;
  };
}

declare module "node:crypto" {
  interface Hmac {
    update(data: string | Uint8Array): Hmac;
    digest(encoding: "base64"): string;
  }
  export function createHmac(algorithm: "sha256", key: Uint8Array): Hmac;
  export function randomUUID(): string;
  export function timingSafeEqual(one: Uint8Array, other: Uint8Array): boolean;
}

declare module "node:http" {
  import { Buffer } from "node:buffer";

  export interface IncomingMessage {
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    on(event: "data", listener: (piece: Buffer) => void): void;
    on(event: "end", listener: () => void): void;
  }
  interface ServerResponse {
    writeHead(status: number): ServerResponse;
    end(): void;
  }
  interface Server {
    listen(port: number, host: string): void;
  }
  export function createServer(listener: (request: IncomingMessage, response: ServerResponse) => void): Server;
}

declare module "node:process" {
  interface Output {
    write(text: string): boolean;
  }
  export const argv: string[];
  export const env: Record<string, string | undefined>;
  export const stderr: Output;
  export const stdout: Output;
  export function exit(status: number): never;
}
