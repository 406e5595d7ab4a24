/**
 * Ports for a Capacitor app, over the plugins that the app has anyway. They are passed in,
 * so that this package depends on none of them and an app pays for those that it uses:
 *
 *     import { Geolocation } from "@capacitor/geolocation";
 *     import { App } from "@capacitor/app";
 *     import { Preferences } from "@capacitor/preferences";
 *     const footfall = await init({
 *       endpoint, appKey, platform: Capacitor.getPlatform() === "ios" ? "ios" : "android",
 *       ports: capacitor({ Geolocation, App, Preferences, PushNotifications, BackgroundGeolocation }),
 *     });
 *
 * The interfaces below are the part of each plugin that is used (@capacitor/app 8,
 * geolocation 8, preferences 8, push-notifications 8, @capgo/background-geolocation 8).
 */
import type {
  Accuracy,
  Circle,
  Fix,
  GeofenceEvent,
  GeofencePort,
  LifecyclePort,
  LocationPort,
  Ports,
  PushPort,
  StoragePort,
  StoredItem,
  WatchOptions,
} from "../ports.js";

/** What a listener of a plugin is removed by. */
export interface Handle {
  remove(): Promise<void>;
}

export interface AppPlugin {
  addListener(event: "appStateChange", heard: (s: { isActive: boolean }) => void): Promise<Handle>;
}

export interface CapacitorPosition {
  timestamp: number;
  coords: {
    latitude: number;
    longitude: number;
    accuracy: number;
    altitude?: number | null;
    speed?: number | null;
    heading?: number | null;
  };
}

export interface GeolocationPlugin {
  watchPosition(
    o: { enableHighAccuracy?: boolean; timeout?: number; maximumAge?: number; minimumUpdateInterval?: number },
    heard: (p: CapacitorPosition | null, e?: unknown) => void,
  ): Promise<string>;
  clearWatch(o: { id: string }): Promise<void>;
  getCurrentPosition(o: {
    enableHighAccuracy?: boolean;
    timeout?: number;
    maximumAge?: number;
  }): Promise<CapacitorPosition>;
}

export interface PreferencesPlugin {
  get(o: { key: string }): Promise<{ value: string | null }>;
  set(o: { key: string; value: string }): Promise<void>;
  remove(o: { key: string }): Promise<void>;
  keys(): Promise<{ keys: string[] }>;
}

export interface PushNotificationsPlugin {
  addListener(event: "registration", heard: (t: { value: string }) => void): Promise<Handle>;
  addListener(event: "pushNotificationReceived", heard: (n: { data: unknown }) => void): Promise<Handle>;
  addListener(
    event: "pushNotificationActionPerformed",
    heard: (a: { notification: { data: unknown } }) => void,
  ): Promise<Handle>;
}

export interface CapgoTransition {
  identifier: string;
  transition: "enter" | "exit";
}

export interface BackgroundGeolocationPlugin {
  addGeofence(o: {
    identifier: string;
    latitude: number;
    longitude: number;
    radius: number;
    notifyOnEntry?: boolean;
    notifyOnExit?: boolean;
  }): Promise<void>;
  removeGeofence(o: { identifier: string }): Promise<void>;
  getMonitoredGeofences(): Promise<{ regions: string[] }>;
  addListener(event: "geofenceTransition", heard: (e: CapgoTransition) => void): Promise<Handle>;
}

export interface Plugins {
  App: AppPlugin;
  /** Keeps the queue outside the webview, whose own storage iOS may clear; absent: IndexedDB. */
  Preferences?: PreferencesPlugin;
  Geolocation?: GeolocationPlugin;
  PushNotifications?: PushNotificationsPlugin;
  BackgroundGeolocation?: BackgroundGeolocationPlugin;
}

/** The ports of an app; what they leave out is as on a web page. */
export function capacitor(p: Plugins, platform: "android" | "ios" = "android"): Partial<Ports> {
  return {
    lifecycle: new CapacitorLifecycle(p.App),
    ...(p.Preferences ? { storage: new PreferencesStorage(p.Preferences) } : {}),
    ...(p.Geolocation ? { location: new CapacitorLocation(p.Geolocation) } : {}),
    ...(p.PushNotifications ? { push: new CapacitorPush(p.PushNotifications, platform) } : {}),
    ...(p.BackgroundGeolocation ? { geofence: new CapacitorGeofence(p.BackgroundGeolocation) } : {}),
  };
}

/** Removes a listener that may still be being added. */
function remover(handle: Promise<Handle>): () => void {
  return () => void handle.then((h) => h.remove()).catch(() => undefined);
}

/** The app's own state; a webview that the OS woke is hidden. */
export class CapacitorLifecycle implements LifecyclePort {
  private active = globalThis.document?.visibilityState !== "hidden";
  constructor(private readonly app: AppPlugin) {}
  foreground(): boolean {
    return this.active;
  }
  onChange(heard: (foreground: boolean) => void): () => void {
    return remover(
      this.app.addListener("appStateChange", ({ isActive }) => {
        if (isActive === this.active) return;
        this.active = isActive;
        heard(isActive);
      }),
    );
  }
}

function fixOf(p: CapacitorPosition): Fix {
  const { coords: c } = p;
  const f: Fix = { lat: c.latitude, lng: c.longitude, accuracyM: c.accuracy, atMs: p.timestamp };
  if (typeof c.speed === "number") f.speedMps = c.speed;
  if (typeof c.heading === "number") f.bearingDeg = c.heading;
  if (typeof c.altitude === "number") f.altitudeM = c.altitude;
  return f;
}

/** Positions of the foreground. */
export class CapacitorLocation implements LocationPort {
  constructor(private readonly geo: GeolocationPlugin) {}

  watch(o: WatchOptions, onFix: (f: Fix) => void, onError: (e: unknown) => void): () => void {
    if (o.intervalMs <= 0) return () => undefined; // visits are the host's plugin's to report
    let live = true;
    const id = this.geo.watchPosition(
      {
        enableHighAccuracy: o.accuracy === "high",
        maximumAge: o.intervalMs / 2,
        minimumUpdateInterval: o.intervalMs,
      },
      (p, e) => {
        if (!live) return;
        if (p) onFix(fixOf(p));
        else if (e) onError(e);
      },
    );
    id.catch(onError);
    return () => {
      live = false;
      void id.then((i) => this.geo.clearWatch({ id: i })).catch(() => undefined);
    };
  }

  async current(o: { accuracy: Accuracy; timeoutMs: number }): Promise<Fix | undefined> {
    try {
      const high = o.accuracy === "high";
      return fixOf(
        await this.geo.getCurrentPosition({ enableHighAccuracy: high, timeout: o.timeoutMs, maximumAge: 0 }),
      );
    } catch {
      return undefined;
    }
  }
}

/** Ids of the SDK's own circles begin so: others are the host app's. */
const OURS = "footfall:";

/** The OS's geofences by @capgo/background-geolocation, which knows no dwelling. */
export class CapacitorGeofence implements GeofencePort {
  constructor(private readonly plugin: BackgroundGeolocationPlugin) {}

  async set(circles: readonly Circle[]): Promise<{ id: string; osCode: string }[]> {
    const { regions } = await this.plugin.getMonitoredGeofences();
    // Slots first: those that go make room for those that come.
    for (const identifier of regions) {
      if (identifier.startsWith(OURS)) await this.plugin.removeGeofence({ identifier });
    }
    const failed: { id: string; osCode: string }[] = [];
    for (const c of circles) {
      try {
        await this.plugin.addGeofence({
          identifier: OURS + c.id,
          latitude: c.lat,
          longitude: c.lng,
          radius: c.radiusM,
          notifyOnEntry: c.onEnter,
          notifyOnExit: c.onExit,
        });
      } catch (e) {
        const code = (e as { code?: unknown } | null)?.code;
        failed.push({ id: c.id, osCode: typeof code === "string" ? code : e instanceof Error ? e.message : "refused" });
      }
    }
    return failed;
  }

  onEvent(heard: (e: GeofenceEvent) => void): () => void {
    return remover(
      this.plugin.addListener("geofenceTransition", (e) => {
        if (!e.identifier.startsWith(OURS)) return;
        // What the plugin gives as a position is the circle's centre: no fix.
        heard({ id: e.identifier.slice(OURS.length), transition: e.transition });
      }),
    );
  }
}

function messageIdOf(data: unknown): string {
  const id = (data as { message_id?: unknown } | null)?.message_id;
  return typeof id === "string" ? id : "";
}

/** Pushes; the host calls register() of the plugin when the person has agreed. */
export class CapacitorPush implements PushPort {
  private readonly via: "fcm" | "apns";
  constructor(
    private readonly plugin: PushNotificationsPlugin,
    platform: "android" | "ios",
  ) {
    this.via = platform === "ios" ? "apns" : "fcm";
  }

  onToken(heard: Parameters<PushPort["onToken"]>[0]): () => void {
    return remover(this.plugin.addListener("registration", (t) => heard({ provider: this.via, token: t.value })));
  }

  onPush(heard: Parameters<PushPort["onPush"]>[0]): () => void {
    const tell = (data: unknown, opened: boolean) => {
      const messageId = messageIdOf(data);
      if (messageId !== "") heard({ messageId, via: this.via, opened });
    };
    const ends = [
      remover(this.plugin.addListener("pushNotificationReceived", (n) => tell(n.data, false))),
      remover(this.plugin.addListener("pushNotificationActionPerformed", (a) => tell(a.notification.data, true))),
    ];
    return () => {
      for (const end of ends) end();
    };
  }
}

const PREFIX = "footfall.";

/**
 * A store in the app's preferences, one key per item. The plugin has no transactions: the
 * next seq is kept before the items that have it, so that none is given twice.
 */
export class PreferencesStorage implements StoragePort {
  private nextSeq = 1;
  /** One write at a time, in order. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly prefs: PreferencesPlugin) {}

  private inTurn<T>(run: () => Promise<T>): Promise<T> {
    const out = this.turn.then(run);
    this.turn = out.catch(() => undefined);
    return out;
  }

  private async items(): Promise<StoredItem[]> {
    const { keys } = await this.prefs.keys();
    const out: StoredItem[] = [];
    for (const key of keys) {
      if (!key.startsWith(`${PREFIX}i.`)) continue;
      const { value } = await this.prefs.get({ key });
      if (value !== null) out.push({ seq: Number(key.slice(PREFIX.length + 2)), body: unpack(value) });
    }
    return out.sort((a, b) => a.seq - b.seq);
  }

  load(): ReturnType<StoragePort["load"]> {
    return this.inTurn(async () => {
      const { keys } = await this.prefs.keys();
      const values = new Map<string, Uint8Array>();
      for (const key of keys) {
        if (!key.startsWith(`${PREFIX}v.`)) continue;
        const { value } = await this.prefs.get({ key });
        if (value !== null) values.set(key.slice(PREFIX.length + 2), unpack(value));
      }
      const items = await this.items();
      const { value } = await this.prefs.get({ key: `${PREFIX}next` });
      this.nextSeq = Math.max(Number(value ?? 1), (items.at(-1)?.seq ?? 0) + 1);
      return { items, values, nextSeq: this.nextSeq };
    });
  }

  append(bodies: readonly Uint8Array[]): Promise<number[]> {
    return this.inTurn(() => this.put(bodies));
  }

  private async put(bodies: readonly Uint8Array[]): Promise<number[]> {
    const first = this.nextSeq;
    await this.prefs.set({ key: `${PREFIX}next`, value: String(first + bodies.length) });
    this.nextSeq = first + bodies.length;
    const kept: number[] = [];
    try {
      for (const [i, body] of bodies.entries()) {
        await this.prefs.set({ key: `${PREFIX}i.${first + i}`, value: pack(body) });
        kept.push(first + i);
      }
    } catch (e) {
      // All or nothing: what was kept would come again under another seq.
      for (const seq of kept) await this.prefs.remove({ key: `${PREFIX}i.${seq}` });
      throw e;
    }
    return kept;
  }

  remove(seqs: readonly number[]): Promise<void> {
    return this.inTurn(async () => {
      for (const seq of seqs) await this.prefs.remove({ key: `${PREFIX}i.${seq}` });
    });
  }

  renumber(above: number): Promise<StoredItem[]> {
    return this.inTurn(async () => {
      const items = await this.items();
      if (this.nextSeq > above) return items;
      this.nextSeq = above + 1;
      const seqs = await this.put(items.map((i) => i.body));
      for (const i of items) await this.prefs.remove({ key: `${PREFIX}i.${i.seq}` });
      return items.map((i, n) => ({ seq: seqs[n] ?? 0, body: i.body }));
    });
  }

  set(key: string, value: Uint8Array | undefined): Promise<void> {
    return this.inTurn(() =>
      value === undefined
        ? this.prefs.remove({ key: `${PREFIX}v.${key}` })
        : this.prefs.set({ key: `${PREFIX}v.${key}`, value: pack(value) }),
    );
  }

  claim(key: string, value: Uint8Array): Promise<Uint8Array> {
    return this.inTurn(async () => {
      const kept = (await this.prefs.get({ key: `${PREFIX}v.${key}` })).value;
      if (kept !== null) return unpack(kept);
      await this.prefs.set({ key: `${PREFIX}v.${key}`, value: pack(value) });
      return value;
    });
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.inTurn(async () => {
      const { value } = await this.prefs.get({ key: `${PREFIX}v.${key}` });
      return value === null ? undefined : unpack(value);
    });
  }

  close(): void {}
}

/** Bytes as base64. */
function pack(b: Uint8Array): string {
  let s = "";
  for (const x of b) s += String.fromCharCode(x);
  return btoa(s);
}

function unpack(s: string): Uint8Array {
  return Uint8Array.from(atob(s), (c) => c.charCodeAt(0));
}
