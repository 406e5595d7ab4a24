import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type Config,
  ConfigSchema,
  Consent_Purpose,
  type Item,
  ItemSchema,
  Message_Kind,
  Permissions_Location,
  Permissions_Notifications,
  Permissions_Precision,
  Permissions_Setting,
  type Permissions as PermissionsMessage,
  PermissionsSchema,
  Platform,
  Preferences_Attitude,
  PushTarget_Provider,
  type PushTarget as PushTargetMessage,
  PushTargetSchema,
  Receipt_State,
  RegionsSchema,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { Fix, Ports, PushTarget } from "../ports.js";
import { installIdOf, loseInstall } from "./anew.js";
import { type Codec, protobuf } from "./codec.js";
import { Engine, type State } from "./engine.js";
import { InvalidError, TerminalError } from "./errors.js";
import { locationOf } from "./geo.js";
import { type Inbox, InboxStore } from "./inbox.js";
import { type InAppMessage, Messages, Shown } from "./messages.js";
import * as P from "./protocol.js";
import { RegionWatch } from "./regions.js";
import { type Plan, type Preset, planOf, presetInForce, Tracker } from "./tracking.js";
import { validateItem } from "./validate.js";

/** What the person may agree to. */
export type Purpose = "marketing" | "location_foreground" | "location_background" | "location_precise" | "profiling";

const purposes: Readonly<Record<Purpose, Consent_Purpose>> = {
  marketing: Consent_Purpose.MARKETING,
  location_foreground: Consent_Purpose.LOCATION_FOREGROUND,
  location_background: Consent_Purpose.LOCATION_BACKGROUND,
  location_precise: Consent_Purpose.LOCATION_PRECISE,
  profiling: Consent_Purpose.PROFILING,
};

/** What became of a message on the phone. */
export type MessageState = "delivered" | "displayed" | "opened" | "action" | "dismissed" | "converted" | "failed";

const states: Readonly<Record<MessageState, Receipt_State>> = {
  delivered: Receipt_State.DELIVERED,
  displayed: Receipt_State.DISPLAYED,
  opened: Receipt_State.OPENED,
  action: Receipt_State.ACTION,
  dismissed: Receipt_State.DISMISSED,
  converted: Receipt_State.CONVERTED,
  failed: Receipt_State.FAILED,
};

/** After these a message is not shown again. */
const endings = new Set([Receipt_State.OPENED, Receipt_State.ACTION, Receipt_State.DISMISSED]);

/** Where a message came up. */
export type Via = "fcm" | "apns" | "in_app" | "inbox";

/** What the person gave the app in the OS. What is absent is not known. */
export interface Permissions {
  location?: "none" | "when_in_use" | "always";
  precision?: "precise" | "reduced";
  notifications?: "undetermined" | "provisional" | "granted" | "denied";
  /** May the app look for beacons? */
  bluetooth?: boolean;
  /** May it run in the background at all? */
  backgroundRefresh?: boolean;
  /** Does the OS hold it back to spare the battery? */
  batteryOptimised?: boolean;
}

const locations = { none: 1, when_in_use: 2, always: 3 } as const satisfies Record<string, Permissions_Location>;
const precisions = { precise: 1, reduced: 2 } as const satisfies Record<string, Permissions_Precision>;
const notifications = { undetermined: 1, provisional: 2, granted: 3, denied: 4 } as const satisfies Record<
  string,
  Permissions_Notifications
>;

function setting(on: boolean | undefined): Permissions_Setting {
  return on === undefined ? Permissions_Setting.UNSPECIFIED : on ? Permissions_Setting.ON : Permissions_Setting.OFF;
}

function permissionsOf(p: Permissions): PermissionsMessage {
  return create(PermissionsSchema, {
    location: p.location ? oneOf("location", locations, p.location) : Permissions_Location.UNSPECIFIED,
    precision: p.precision ? oneOf("precision", precisions, p.precision) : Permissions_Precision.UNSPECIFIED,
    notifications: p.notifications
      ? oneOf("notifications", notifications, p.notifications)
      : Permissions_Notifications.UNSPECIFIED,
    bluetooth: setting(p.bluetooth),
    backgroundRefresh: setting(p.backgroundRefresh),
    batteryOptimised: setting(p.batteryOptimised),
  });
}

const providers = { fcm: PushTarget_Provider.FCM, apns: PushTarget_Provider.APNS };
const attitudes = { like: Preferences_Attitude.LIKE, dislike: Preferences_Attitude.DISLIKE };
const presets: Readonly<Record<Preset, Preset>> = {
  off: "off",
  efficient: "efficient",
  responsive: "responsive",
  continuous: "continuous",
};

/** The value of a name that a caller without types may have got wrong; throws an InvalidError. */
function oneOf<T>(field: string, names: Readonly<Record<string, T>>, name: string): T {
  const v = Object.hasOwn(names, name) ? names[name] : undefined;
  if (v === undefined) throw new InvalidError("invalid", field, `must be one of ${Object.keys(names).join(", ")}`);
  return v;
}

function pushTargetOf(t: PushTarget): PushTargetMessage {
  return create(PushTargetSchema, {
    provider: oneOf("provider", providers, t.provider),
    token: t.token,
    environment: t.environment ?? "",
    topic: t.topic ?? "",
  });
}

/** The proof, made by the app's own server, of who the person is: one of the two. */
export type Proof = { hmac: string } | { jwt: string };

/** A JSON object; undefined values are left out. */
export type Properties = Readonly<Record<string, unknown>>;

/** An item that the server will never take; it is gone. */
export interface RejectedItem {
  /** Its body's name: "event", "location", … */
  kind: string;
  seq: number;
  /** "invalid", "unsupported", "too_large", "consent_missing", "identity_invalid", … */
  code: string;
  /** Path inside the item. */
  field: string;
  reason: string;
}

/** What the core needs to know; see init for what an app has to say. */
export interface Options {
  /** Where the server is: "https://engage.example.com". */
  endpoint: string;
  /** Public key of the app. */
  appKey: string;
  platform: "android" | "ios" | "web";
  /** All of them; init fills in those of the machine. */
  ports: Ports;
  /**
   * Id of this install, where the host has one of its own; by default a random one is kept,
   * and another when its token is lost for good (onStopped with code 101 or 4501).
   */
  installId?: string;
  appVersion?: string;
  osVersion?: string;
  /** BCP 47. */
  locale?: string;
  /** IANA name. */
  timeZone?: string;
  /** The app looks for beacons, for which iOS takes slots of its regions. */
  beacons?: boolean;
  /** Encoding; protobuf by default, `json` of "@footfall/sdk/json" to look at what travels. */
  codec?: Codec;
  /** Hears how the connection is, and why. */
  onState?: (s: State, why: unknown) => void;
  /** Hears that the server said never again: a wrong key, a blocked app, a newer connection. */
  onStopped?: (e: TerminalError) => void;
  onRejected?: (r: RejectedItem) => void;
  /** Hears of what went wrong and is nobody's fault in the app; no tokens, no positions. */
  onTrouble?: (what: string, e: unknown) => void;
  /** For tests: the seqs of what is durable on the server, of what was dropped from a full queue. */
  onAcked?: (item: Item) => void;
  onDropped?: (item: Item) => void;
  /** For tests: ms, items. */
  backoffMinMs?: number;
  backoffMaxMs?: number;
  maxQueue?: number;
}

const platforms = { android: Platform.ANDROID, ios: Platform.IOS, web: Platform.WEB } as const;

/** Name and version, as hello says them. */
export const SDK = "footfall-ts/1.0.0-draft.1";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How often an identify is proven anew before the host's answer counts as no. */
const MAX_PROOFS = 3;

/**
 * Footfall is the SDK in an app. What is told to it is kept durably at once and reaches the
 * server once, in this order, when there is a network: a promise of its methods resolves
 * when the item is kept, not when the server has it (see flush). It rejects with an
 * InvalidError when the server would never take it.
 */
export class Footfall {
  readonly inbox: Inbox;
  private readonly engine: Engine;
  private readonly ports: Ports;
  private readonly shown: Shown;
  private readonly inboxStore: InboxStore;
  private readonly messages: Messages;
  private readonly tracker: Tracker;
  private readonly regions: RegionWatch;
  private readonly platform: Platform;
  private config: Config | undefined;
  private asked: Preset | "stopped" | undefined;
  private proofs = 0;
  /** Logouts that the server does not know of yet. */
  private leaving = 0;
  private postTimer: unknown;
  private identityNeeded: ((userId: string, why: string) => Proof | undefined | Promise<Proof | undefined>) | undefined;
  private userId = "";
  private ends: (() => void)[] = [];
  private closed = false;

  private constructor(
    private readonly o: Options,
    installId: string,
  ) {
    const { ports } = o;
    this.ports = ports;
    this.platform = platforms[o.platform];
    const caps = [...P.CAPS];
    if (ports.geofence) caps.push(P.CAP_BUBBLE);
    if (o.beacons) caps.push(P.CAP_BEACONS);
    const trouble = (what: string, e: unknown) => o.onTrouble?.(what, e);
    const set = (key: string) => (b: Uint8Array) => ports.storage.set(key, b);
    const receipt = (id: string, state: Receipt_State, via: string, actionId = "") => {
      if (endings.has(state)) this.messages.ended(id);
      void this.engine.enqueue({ receipt: { messageId: id, state, via, actionId } });
    };

    this.shown = new Shown(set("shown"));
    this.messages = new Messages(ports.clock, this.shown, {
      foreground: () => ports.lifecycle.foreground(),
      skewMs: () => this.engine.skewMs,
      claim: (id) => this.engine.claim(id),
      receipt,
      keep: set("waiting"),
      trouble,
    });
    this.inboxStore = new InboxStore(
      set("inbox"),
      this.shown,
      (m) => this.messages.expired(m),
      receipt,
      (messages) => this.messages.sync(messages),
    );
    this.inbox = this.inboxStore;
    this.tracker = new Tracker(
      ports.location,
      ports.clock,
      ports.geofence !== undefined,
      (f, lingerMs) => void this.sendFix(f, lingerMs),
      trouble,
    );
    this.regions = new RegionWatch(
      ports.geofence,
      (timeoutMs) => this.tracker.current(timeoutMs),
      (regionId, transition, fix, atMs) => {
        void this.engine
          .enqueue({
            occurredMs: BigInt(Math.round(atMs)),
            regionEvent: { regionId, transition, ...(fix ? { location: locationOf(fix) } : {}) },
          })
          .then(() => this.wake())
          .catch((e: unknown) => trouble("post a region's event", e));
        this.tracker.moved();
      },
      trouble,
    );
    this.engine = new Engine(
      {
        endpoint: o.endpoint,
        appKey: o.appKey,
        installId,
        codec: o.codec ?? protobuf,
        identity: {
          platform: this.platform,
          sdk: SDK,
          osVersion: o.osVersion ?? "",
          appVersion: o.appVersion ?? "",
          timeZone: o.timeZone ?? "",
          locale: o.locale ?? "",
        },
        caps,
        backoffMinMs: o.backoffMinMs ?? P.BACKOFF_MIN_MS,
        backoffMaxMs: Math.max(o.backoffMaxMs ?? P.BACKOFF_MAX_MS, o.backoffMinMs ?? 0),
        deadAfterMs: P.DEAD_AFTER_MS,
        maxQueue: o.maxQueue ?? P.MAX_QUEUE_ITEMS,
      },
      ports,
      {
        state: (s, why) => {
          o.onState?.(s, why);
          if (s === "stopped" && why instanceof TerminalError) {
            if (why.action === "reregister" && !o.installId && this.engine.standing.mayLose) {
              loseInstall(ports.storage, ports.clock).catch((e: unknown) => trouble("keep another install id", e));
            }
            o.onStopped?.(why);
          }
          if (s === "open") this.messages.look(); // there is somebody to ask
        },
        acked: (i) => {
          if (i.identify) this.proofs = 0;
          if (i.logout) this.left();
          o.onAcked?.(i);
        },
        rejected: (item, r) => {
          if (item.logout) this.left();
          if (r.code === "identity_invalid" || r.code === "identity_expired") {
            void this.proveAgain(item.identify?.userId ?? "", r.reason);
          }
          const kind = validateItem(item);
          o.onRejected?.({
            kind: typeof kind === "string" ? kind : "",
            seq: Number(r.seq),
            code: r.code,
            field: r.field,
            reason: r.reason,
          });
        },
        dropped: (i) => o.onDropped?.(i),
        trouble,
        regions: (r) => {
          const kept = ports.storage.set("regions", toBinary(RegionsSchema, r));
          return {
            kept,
            ack: kept.then(
              () => {
                const ack = this.regions.take(r);
                this.engine.known.regionsEtag = this.regions.active ? r.etag : "";
                return ack;
              },
              () => undefined,
            ),
          };
        },
        message: async (m) => {
          if (this.leaving > 0) return; // it may be of the person who left
          if (m.kind === Message_Kind.IN_APP) this.messages.offered(m);
          else if (m.kind === Message_Kind.INBOX) await this.inboxStore.put(m);
        },
        granted: (id) => this.messages.granted(id),
        denied: (id, refused) => this.messages.denied(id, refused),
        inbox: async (i) => {
          // Of the person who left, or what continues a cursor that was theirs.
          if (this.leaving > 0 || (!i.full && this.inboxStore.cursor === "")) return;
          await this.inboxStore.take(i);
          this.engine.known.inboxCursor = this.inboxStore.cursor;
        },
        config: async (c) => {
          await ports.storage.set("config", toBinary(ConfigSchema, c));
          this.follow(c);
        },
        identityNeeded: (why) => void this.proveAgain(this.userId, why),
      },
    );
  }

  /** Opens the store and begins; init calls it. */
  static async open(o: Options): Promise<Footfall> {
    if (!/^https?:\/\/[^/]+/.test(o.endpoint)) {
      throw new InvalidError("invalid", "endpoint", "must be http://host or https://host");
    }
    if (!o.appKey) throw new InvalidError("invalid", "appKey", "is required");
    const { storage, clock } = o.ports;
    const saved = await storage.load();
    const installId = o.installId || (await installIdOf(storage, saved.values, clock));
    if (!P.validInstallId(installId)) {
      throw new InvalidError("invalid", "installId", "must be 8 to 100 of A-Z, a-z, 0-9, '.', '_', ':', '-'");
    }
    const f = new Footfall(o, installId);
    f.load(saved);
    f.begin();
    return f;
  }

  private load(saved: Awaited<ReturnType<Ports["storage"]["load"]>>): void {
    const { engine } = this;
    const value = (key: string, use: (b: Uint8Array) => void) => {
      const b = saved.values.get(key);
      if (!b) return;
      try {
        use(b);
      } catch (e) {
        // A value that cannot be read is as one that was never kept.
        this.o.onTrouble?.(`read ${key}`, e);
      }
    };
    engine.load(saved.values);
    engine.queue.load(saved.items, saved.nextSeq);
    this.leaving = engine.queue.entries.filter((e) => e.item.logout).length;
    value("shown", (b) => this.shown.load(b));
    value("waiting", (b) => this.messages.load(b));
    value("inbox", (b) => this.inboxStore.load(b));
    engine.known.inboxCursor = this.inboxStore.cursor;
    value("permissions", (b) => {
      engine.known.permissions = fromBinary(PermissionsSchema, b);
    });
    value("push", (b) => {
      engine.known.pushTarget = fromBinary(PushTargetSchema, b);
    });
    value("user", (b) => {
      this.userId = decoder.decode(b);
    });
    value("tracking", (b) => {
      this.asked = decoder.decode(b) as Preset | "stopped";
    });
    value("regions", (b) => {
      if (!this.ports.geofence) return;
      this.regions.load(fromBinary(RegionsSchema, b));
      engine.known.regionsEtag = this.regions.etag;
    });
    value("config", (b) => {
      this.config = fromBinary(ConfigSchema, b);
    });
  }

  private begin(): void {
    const { lifecycle, geofence, push, clock } = this.ports;
    this.follow(this.config);
    this.ends.push(
      lifecycle.onChange((foreground) => {
        if (foreground) {
          this.messages.came();
          this.engine.start();
        } else {
          this.messages.left();
          void this.engine.background();
        }
      }),
    );
    if (geofence) {
      this.ends.push(
        geofence.onEvent((e) => {
          this.regions.heard(e, e.atMs ?? clock.now()).catch((err: unknown) => this.o.onTrouble?.("region", err));
        }),
      );
    }
    if (push) {
      this.ends.push(
        push.onToken((t) => void this.setPushToken(t).catch((e: unknown) => this.o.onTrouble?.("push token", e))),
        push.onPush((p) => void this.pushReceived(p).catch((e: unknown) => this.o.onTrouble?.("push", e))),
      );
    }
    if (lifecycle.foreground()) {
      this.messages.came();
      this.engine.start();
    }
  }

  // ------------------------------------------------------------------ the person

  /**
   * Says who uses the install, with the proof of the app's own server. Traits are kept with
   * the person.
   */
  async identify(userId: string, proof: Proof, traits?: Properties): Promise<void> {
    this.proofs = 0;
    await this.sendIdentify(userId, proof, traits);
  }

  private async sendIdentify(userId: string, proof: Proof, traits?: Properties): Promise<void> {
    await this.enqueue({ identify: { userId, traitsJson: jsonOf("traits", traits), ...proof } });
    this.userId = userId;
    await this.ports.storage.set("user", encoder.encode(userId));
  }

  /**
   * Asks the host app when the server wants another proof of who the person is: the old one
   * was wrong, or has expired. Resolving with undefined goes on anonymously.
   */
  onIdentityNeeded(ask: (userId: string, why: string) => Proof | undefined | Promise<Proof | undefined>): void {
    this.identityNeeded = ask;
  }

  private async proveAgain(userId: string, why: string): Promise<void> {
    if (!this.identityNeeded || userId === "" || this.proofs >= MAX_PROOFS) return;
    this.proofs++;
    try {
      const proof = await this.identityNeeded(userId, why);
      if (proof && !this.closed) await this.sendIdentify(userId, proof);
    } catch (e) {
      this.o.onTrouble?.("onIdentityNeeded", e);
    }
  }

  /**
   * Says that the person has left the app: what follows is another's. The inbox is empty
   * from now on; the host takes an in-app message off its screen.
   */
  async logout(): Promise<void> {
    this.leaving++;
    this.messages.forget();
    await this.enqueue({ logout: {} });
    this.userId = "";
    await this.ports.storage.set("user", undefined);
    await this.inboxStore.forget();
    this.engine.known.inboxCursor = "";
  }

  /** The server knows of a logout: the next inbox is the next person's. */
  private left(): void {
    if (--this.leaving === 0) this.engine.syncInbox();
  }

  /**
   * What the person likes, dislikes, or has no answer to any more (null); answers to other
   * topics stay. At most 100 topics of 100 characters.
   */
  async setPreferences(p: {
    likes?: readonly string[];
    dislikes?: readonly string[];
    topics?: Readonly<Record<string, "like" | "dislike" | null>>;
  }): Promise<void> {
    const topics: Record<string, Preferences_Attitude> = {};
    for (const [topic, a] of Object.entries(p.topics ?? {})) {
      topics[topic] = a === null ? Preferences_Attitude.UNSPECIFIED : oneOf(`topics.${topic}`, attitudes, a);
    }
    for (const list of ["likes", "dislikes"] as const) {
      if (!Array.isArray(p[list] ?? [])) throw new InvalidError("invalid", list, "must be a list of topics");
    }
    for (const topic of p.likes ?? []) topics[topic] = Preferences_Attitude.LIKE;
    for (const topic of p.dislikes ?? []) topics[topic] = Preferences_Attitude.DISLIKE;
    await this.enqueue({ preferences: { topics } });
  }

  /** The person's answer to one purpose; textVersion names the text that was shown. */
  async setConsent(
    purpose: Purpose,
    granted: boolean,
    more: { textVersion?: string; source?: string } = {},
  ): Promise<void> {
    const { textVersion = "", source = "" } = more;
    // "false" of a form would count as a yes, and nothing at all as a withdrawal.
    if (typeof granted !== "boolean") throw new InvalidError("invalid", "granted", "must be true or false");
    await this.enqueue({ consent: { purpose: purposes[purpose], granted, textVersion, source } });
  }

  // ------------------------------------------------------------------ what happens

  /** Something that the app tracks: "product_viewed". Properties are at most 16 KiB of JSON. */
  async track(name: string, properties?: Properties): Promise<void> {
    await this.enqueue({ event: { name, propertiesJson: jsonOf("properties", properties) } });
    this.messages.event(name);
  }

  /** Which screen the app shows now: a message may wait for it. Nothing is sent. */
  showScreen(name: string): void {
    if (!this.closed) this.messages.screen(name);
  }

  /**
   * Follows the phone from now on, until stopTracking, also after a restart; the server may
   * put another preset in its place. The app has asked for the OS's permission before.
   */
  async startTracking(preset: Preset = "responsive"): Promise<void> {
    oneOf("preset", presets, preset);
    await this.ask(preset);
  }

  /** Asks for no position and watches no region any more, whatever the server says. */
  async stopTracking(): Promise<void> {
    await this.ask("stopped");
  }

  private async ask(p: Preset | "stopped"): Promise<void> {
    this.asked = p;
    this.follow(this.config);
    await this.ports.storage.set("tracking", encoder.encode(p));
  }

  /** The preset in force: the app's, or the server's in its place. */
  get tracking(): Preset {
    return presetInForce(this.asked, this.config);
  }

  private follow(c: Config | undefined): void {
    this.config = c;
    this.engine.known.configEtag = c?.etag ?? "";
    this.messages.gapMs = c?.inAppGapMs ?? 0;
    const plan: Plan | undefined = planOf(this.tracking, this.platform, c);
    this.tracker.follow(plan);
    this.regions.enable(plan !== undefined);
  }

  private async sendFix(f: Fix, lingerMs: number): Promise<void> {
    await this.engine.enqueue({ occurredMs: BigInt(Math.round(f.atMs)), location: locationOf(f) }, lingerMs);
    // In the background there is no socket: a POST takes what has gathered.
    if (this.ports.lifecycle.foreground() || this.postTimer !== undefined || this.closed) return;
    this.postTimer = this.ports.clock.setTimeout(() => {
      this.postTimer = undefined;
      if (!this.ports.lifecycle.foreground()) this.wake().catch((e: unknown) => this.o.onTrouble?.("post fixes", e));
    }, lingerMs);
  }

  /** A position that the host found by itself. */
  async reportFix(f: Fix): Promise<void> {
    if (!Number.isFinite(f.atMs)) throw new InvalidError("invalid", "atMs", "must be Unix milliseconds");
    await this.enqueue({ occurredMs: BigInt(Math.round(f.atMs)), location: locationOf(f) });
  }

  /** Where pushes for this install go; push ports call it by themselves. */
  async setPushToken(t: PushTarget): Promise<void> {
    const pushToken = pushTargetOf(t);
    await this.enqueue({ pushToken });
    this.engine.known.pushTarget = pushToken;
    await this.ports.storage.set("push", toBinary(PushTargetSchema, pushToken));
  }

  /** What the person gave the app in the OS; to be told after every change. */
  async setPermissions(p: Permissions): Promise<void> {
    const permissions = permissionsOf(p);
    await this.enqueue({ permissions });
    this.engine.known.permissions = permissions;
    await this.ports.storage.set("permissions", toBinary(PermissionsSchema, permissions));
  }

  // ------------------------------------------------------------------ messages

  /**
   * Shows in-app messages: it is called with each one that may be shown now, one at a time.
   * Without a handler none is claimed, and they go as pushes.
   */
  onMessage(handler: (m: InAppMessage) => void): () => void {
    this.messages.onMessage(handler);
    return () => this.messages.onMessage(undefined);
  }

  /** No in-app message from now on: a checkout. They go as pushes. */
  pauseInApp(): void {
    this.messages.pause();
  }

  resumeInApp(): void {
    this.messages.resume();
  }

  /** What became of a message that the host shows by itself. */
  async reportReceipt(
    messageId: string,
    state: MessageState,
    more: { via?: Via; actionId?: string } = {},
  ): Promise<void> {
    const { via = "", actionId = "" } = more;
    await this.enqueue({ receipt: { messageId, state: states[state], via, actionId } });
    if (endings.has(states[state])) this.messages.ended(messageId);
  }

  /**
   * The OS handed over a push with a message's id. Resolves with whether the person sees
   * it: false for one that was shown already, which the host then does not show.
   */
  async pushReceived(p: { messageId: string; via: "fcm" | "apns"; opened?: boolean }): Promise<boolean> {
    const { messageId, via } = p;
    const [fresh] = await this.shown.add([messageId]);
    const say = (state: Receipt_State) => this.engine.enqueue({ receipt: { messageId, state, via } });
    if (fresh !== undefined) {
      await say(Receipt_State.DELIVERED);
      await say(Receipt_State.DISPLAYED);
    }
    if (p.opened) {
      await say(Receipt_State.OPENED);
      this.messages.ended(messageId);
    }
    return fresh !== undefined;
  }

  // ------------------------------------------------------------------ the connection

  /** How the connection is. */
  get state(): State {
    return this.engine.state;
  }

  /** How many items the server has neither acknowledged nor refused. */
  get pending(): number {
    return this.engine.queue.length;
  }

  /**
   * Sends what waits: on the socket where one is open, else by a POST. Resolves with
   * whether everything is acknowledged; rejects with a RetryError, a TerminalError or the
   * network's error of the POST. The items wait in any case.
   */
  async flush(): Promise<boolean> {
    await this.engine.queue.settledDown();
    if (this.engine.state === "open") {
      this.engine.queue.hurry();
      this.engine.kick();
      if (await this.engine.drained(P.POST_WITHIN_MS)) return true;
    }
    for (let before = Number.POSITIVE_INFINITY; this.pending > 0 && this.pending < before; ) {
      before = this.pending;
      await this.engine.post();
    }
    return this.pending === 0;
  }

  /**
   * What a woken app does: one POST of what waits, whose answer brings regions and inbox;
   * in the foreground the socket does that. Rejects as flush does.
   */
  async wake(): Promise<void> {
    if (this.engine.state !== "open") await this.engine.post();
  }

  /** Asks for another device token, for an app that fears that its own was read. */
  async refreshToken(): Promise<void> {
    await this.engine.refreshToken();
  }

  /**
   * Lets go of everything, at once. What waits is kept for the next init. Nothing may be
   * called afterwards.
   */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    for (const end of this.ends.splice(0)) end();
    this.messages.close();
    this.tracker.close();
    this.ports.clock.clearTimeout(this.postTimer);
    await this.engine.queue.settledDown();
    await this.engine.stop("stopped", undefined);
    this.engine.queue.close();
    this.ports.storage.close();
  }

  /** Enqueues an item; rejects with an InvalidError when the server would never take it. */
  private async enqueue(init: MessageInitShape<typeof ItemSchema>): Promise<void> {
    if (this.closed) throw new Error("footfall: closed");
    const item = create(ItemSchema, init);
    item.seq = 1n; // of the store's to give
    const fault = validateItem(item);
    item.seq = 0n;
    if (typeof fault !== "string") throw new InvalidError(fault.code, fault.field, fault.reason);
    await this.engine.enqueue(item);
  }
}

function jsonOf(field: string, v: Properties | undefined): string {
  if (v === undefined) return "";
  try {
    return JSON.stringify(v);
  } catch (e) {
    throw new InvalidError("invalid", field, e instanceof Error ? e.message : "is not JSON");
  }
}
