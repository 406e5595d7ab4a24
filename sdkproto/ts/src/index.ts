/**
 * The SDK of Footfall.
 *
 *     const footfall = await init({ endpoint, appKey });
 *     await footfall.setConsent("marketing", true, { textVersion: "2026-11" });
 *     await footfall.track("product_viewed", { sku: "A-1" });
 *
 * Reading order of the source: ports.ts, core/footfall.ts (the API), core/engine.ts (the
 * protocol: when to connect), core/session.ts (what is said on a socket), core/post.ts,
 * core/queue.ts.
 */
import { IndexedDBStorage } from "./adapters/idb.js";
import { WebClock, WebLifecycle, WebLocation, WebTransport } from "./adapters/web.js";
import { InvalidError } from "./core/errors.js";
import { Footfall, type Options } from "./core/footfall.js";
import type { Ports } from "./ports.js";

export { IndexedDBStorage } from "./adapters/idb.js";
export { WebClock, WebLifecycle, WebLocation, WebPush, WebTransport } from "./adapters/web.js";
export type { Codec } from "./core/codec.js";
export type { State } from "./core/engine.js";
export { InvalidError, RetryError, TerminalError } from "./core/errors.js";
export {
  Footfall,
  type MessageState,
  type Options,
  type Permissions,
  type Proof,
  type Properties,
  type Purpose,
  type RejectedItem,
  SDK,
  type Via,
} from "./core/footfall.js";
export type { Inbox, InboxMessage } from "./core/inbox.js";
export type { Button, Content, InAppMessage } from "./core/messages.js";
export type { Preset } from "./core/tracking.js";
export type * from "./ports.js";

/** What an app says to init: the endpoint and its key; the rest has defaults. */
export type InitOptions = Omit<Options, "ports" | "platform"> & {
  /** "web" by default. */
  platform?: Options["platform"];
  /** In place of those of a web page: `capacitor(…)` of "@footfall/sdk/capacitor", or own ones. */
  ports?: Partial<Ports>;
};

/**
 * Opens the SDK: once per page or app, early, also when the OS woke the app in the
 * background. It connects when the app is in the foreground. Rejects with an InvalidError,
 * or with the store's error when nothing can be kept.
 */
export async function init(o: InitOptions): Promise<Footfall> {
  const given = o.ports ?? {};
  // A page that is rendered on a server has neither.
  for (const [port, there] of [
    ["storage", globalThis.indexedDB],
    ["lifecycle", globalThis.document],
  ] as const) {
    if (!given[port] && !there) {
      throw new InvalidError(
        "invalid",
        `ports.${port}`,
        "is required where there is no browser; call init in the page",
      );
    }
  }
  const ports: Ports = {
    storage: given.storage ?? new IndexedDBStorage(`footfall.${o.appKey}`),
    clock: given.clock ?? new WebClock(),
    transport: given.transport ?? new WebTransport(),
    lifecycle: given.lifecycle ?? new WebLifecycle(),
  };
  const location = given.location ?? (globalThis.navigator?.geolocation ? new WebLocation() : undefined);
  if (location) ports.location = location;
  if (given.geofence) ports.geofence = given.geofence;
  if (given.push) ports.push = given.push;
  const here = globalThis.navigator?.language;
  return Footfall.open({
    ...(here ? { locale: here } : {}),
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "",
    ...o,
    platform: o.platform ?? "web",
    ports,
  });
}
