// The little of Node that the client uses, so that it compiles without @types/node.

declare module "node:crypto" {
  export function randomUUID(): string;
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
