import type { Error as Error$ } from "../gen/footfall/sdk/v1/sdk_pb.js";
import { type Action, closeInfo, errorInfo, RETRY_WITHOUT_MS } from "./protocol.js";

/** What the host app called with something that the server would never take. */
export class InvalidError extends Error {
  /** Path of the field inside the item, in snake case: "event.name". */
  readonly field: string;
  /** Code of the reject that the server would answer: "invalid", "unsupported", "too_large". */
  readonly code: string;
  constructor(code: string, field: string, reason: string) {
    super(`footfall: ${field ? `${field}: ` : ""}${reason}`);
    this.name = "InvalidError";
    this.code = code;
    this.field = field;
  }
}

/** The server asked for patience, or could not. The items wait. */
export class RetryError extends Error {
  /** ms; 0 means the SDK's own backoff. */
  readonly afterMs: number;
  /** Error code of the protocol; 0 when the network failed. */
  readonly code: number;
  constructor(afterMs: number, code: number, reason: string) {
    super(`footfall: try again${afterMs ? ` after ${afterMs} ms` : " later"}: ${reason}`);
    this.name = "RetryError";
    this.afterMs = afterMs;
    this.code = code;
  }
}

/** The server said that coming back is pointless ("stop"), or only the next day ("daily"). */
export class TerminalError extends Error {
  /** Error code of the protocol, or the close code of the socket (4500 to 4999). */
  readonly code: number;
  /** Name of the code: "app_key_invalid", "replaced". */
  readonly reason: string;
  readonly action: Action;
  constructor(code: number, text: string) {
    const info = code >= 1000 ? closeInfo(code) : errorInfo(code);
    super(`footfall: stopped by ${code} ${info.name}${text ? `: ${text}` : ""}`);
    this.name = "TerminalError";
    this.code = code;
    this.reason = info.name;
    this.action = info.action;
  }
}

/** A batch was refused as a whole: error 107 or 108, by a POST. */
export class RefusedError extends Error {
  readonly code: number;
  /** Only a status, maybe of a proxy: no reason to give up an item. */
  readonly bare: boolean;
  constructor(code: number, reason: string, bare: boolean) {
    super(`footfall: refused by error ${code}: ${reason}`);
    this.name = "RefusedError";
    this.code = code;
    this.bare = bare;
  }
}

/** The error that ends a session or a POST after an error frame. */
export function errorOf(e: Error$): RetryError | TerminalError {
  switch (errorInfo(e.code).action) {
    case "stop":
    case "daily":
    case "reregister":
    case "ask_host":
      return new TerminalError(e.code, e.reason);
    default:
      return new RetryError(e.retryAfterMs || (e.code === 111 ? RETRY_WITHOUT_MS : 0), e.code, e.reason);
  }
}

/** The text of anything thrown. */
export function textOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
