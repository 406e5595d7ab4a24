/** The numbers of the protocol: limits, times, error and close codes, as sdkproto/README.md has them. */

/** Protocol version that this SDK speaks. */
export const PROTO = 1;

/** What this SDK does beyond the first version, always; bubble and beacons depend on the host. */
export const CAPS: readonly string[] = ["resume", "inbox", "config", "goaway", "triggers"];
export const CAP_BUBBLE = "bubble";
export const CAP_BEACONS = "beacons";

/** Region id of the bubble. */
export const BUBBLE_ID = "~bubble";

export const PATH = {
  ws: "/sdk/v1/ws",
  batch: "/sdk/v1/batch",
  install: "/sdk/v1/install",
  token: "/sdk/v1/token",
  config: "/sdk/v1/config",
  inbox: "/sdk/v1/inbox",
} as const;

/** Default limits; bytes, counts, characters. */
export const MAX_FRAME_BYTES = 64 << 10;
export const MAX_FRAMES = 256;
export const MAX_BODY_BYTES = 500_000;
export const MAX_GZIP_RATIO = 20;
export const MAX_ITEM_BYTES = 32 << 10;
export const MAX_BATCH_ITEMS = 500;
export const MAX_ID_CHARS = 100;
export const MAX_PROPERTIES_BYTES = 16 << 10;
export const MAX_PROPERTIES_DEPTH = 10;
export const MAX_JWT_CHARS = 4096;
export const MAX_TOPICS = 100;
export const MAX_PUSH_TOKEN_CHARS = 4096;
export const DEFAULT_CREDIT = 500;
export const MAX_QUEUE_ITEMS = 10_000;
export const MAX_QUEUE_BYTES = 10_000_000;
export const MAX_INBOX = 100;
export const MAX_SHOWN = 1000;

/** Default times, ms. */
export const PING_EVERY_MS = 25_000;
export const DEAD_AFTER_MS = 10_000;
export const POST_WITHIN_MS = 10_000;
export const DOWN_ACK_WITHIN_MS = 5_000;
export const BACKOFF_MIN_MS = 1_000;
export const BACKOFF_MAX_MS = 300_000;
/** After error 111 or status 429 that names no time. */
export const RETRY_WITHOUT_MS = 60_000;
/** After a retryable refusal of an item that names no time. */
export const PAUSE_WITHOUT_MS = 1_000;
export const DAY_MS = 24 * 3600_000;
/** Room is made so often while the server has the app blocked. */
export const TRIM_EVERY_MS = 3600_000;
/** How old an observation may be; older ones are refused. */
export const MAX_AGE_MS = 30 * DAY_MS;

/** What a client does; see the table of actions in sdkproto/README.md. */
export type Action =
  | "backoff"
  | "reregister"
  | "stop"
  | "daily"
  | "ignore"
  | "bisect"
  | "halve"
  | "ask_host"
  | "wait"
  | "reconnect";

/** One row of the table of errors or of close codes. */
export interface CodeInfo {
  readonly name: string;
  readonly action: Action;
}

const errors: Readonly<Record<number, readonly [string, Action]>> = {
  100: ["internal", "backoff"],
  101: ["token_invalid", "reregister"],
  102: ["app_key_invalid", "stop"],
  103: ["app_disabled", "daily"],
  104: ["unknown_frame", "ignore"],
  105: ["hello_required", "stop"],
  107: ["malformed", "bisect"],
  108: ["too_large", "halve"],
  109: ["version_unsupported", "stop"],
  111: ["rate_limited", "backoff"],
  112: ["credit_exceeded", "wait"],
  120: ["identity_invalid", "ask_host"],
};

const closes: Readonly<Record<number, readonly [string, Action]>> = {
  1009: ["too_large", "halve"],
  4001: ["shutdown", "reconnect"],
  4002: ["hello_timeout", "reconnect"],
  4005: ["expired", "reconnect"],
  4006: ["rate_limited", "reconnect"],
  4007: ["malformed", "bisect"],
  4008: ["slow", "reconnect"],
  4009: ["too_large", "halve"],
  4012: ["no_pong", "reconnect"],
  4013: ["internal", "reconnect"],
  4500: ["app_key_invalid", "stop"],
  4501: ["token_invalid", "reregister"],
  4502: ["hello_required", "stop"],
  4503: ["replaced", "stop"],
  4504: ["version_unsupported", "stop"],
  4505: ["blocked", "daily"],
};

/** The row of an error code; an unknown one is treated as 100, so that its items are kept. */
export function errorInfo(code: number): CodeInfo {
  const [name, action] = errors[code] ?? [`error_${code}`, "backoff" as Action];
  return { name, action };
}

/** The row of a close code; an unknown one has the action of its range. */
export function closeInfo(code: number): CodeInfo {
  const row = closes[code];
  if (row) return { name: row[0], action: row[1] };
  return { name: `close_${code}`, action: terminal(code) ? "stop" : "reconnect" };
}

/** Whether a client must not reconnect by itself after the close code. */
export function terminal(code: number): boolean {
  return code >= 4500 && code <= 4999;
}

/**
 * The error code that a status without a BatchReply means. A proxy or a captive
 * portal says it, not the server: nothing is dropped, no token is forgotten, and
 * nobody stops for it.
 */
export function codeOfStatus(status: number): number {
  switch (status) {
    case 400:
      return 107;
    case 413:
      return 108;
    case 429:
      return 111;
    default:
      return 100;
  }
}

/** Whether id may name an install: 8 to 100 of A-Z, a-z, 0-9, '.', '_', ':', '-'. */
export function validInstallId(id: string): boolean {
  return /^[A-Za-z0-9._:-]{8,100}$/.test(id);
}
