import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Config,
  type Frame,
  FrameSchema,
  type Hello,
  type Inbox,
  type Item,
  ItemSchema,
  Lifecycle_State,
  type Message,
  type Regions,
  type RegionsAck,
  type Reject,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { Ports } from "../ports.js";
import { Batches } from "./batch.js";
import type { Codec } from "./codec.js";
import { RetryError, TerminalError } from "./errors.js";
import { Poster } from "./post.js";
import * as P from "./protocol.js";
import { Queue, type Settled } from "./queue.js";
import { Session } from "./session.js";
import { type Known, Standing } from "./standing.js";

/** State of the connection. */
export type State =
  | "idle"
  | "connecting"
  | "open"
  /** Until the next attempt. */
  | "waiting"
  /** No connection is wanted. */
  | "background"
  /** The server said never again, or the client was closed. */
  | "stopped";

export interface EngineOptions {
  endpoint: string;
  appKey: string;
  installId: string;
  codec: Codec;
  identity: Partial<Pick<Hello, "platform" | "sdk" | "osVersion" | "appVersion" | "timeZone" | "locale">>;
  caps: readonly string[];
  backoffMinMs: number;
  backoffMaxMs: number;
  deadAfterMs: number;
  maxQueue: number;
}

/** What the engine tells the parts above it. Those that return a promise are waited for. */
export interface EngineEvents {
  state(s: State, why: unknown): void;
  acked(item: Item): void;
  rejected(item: Item, reject: Reject): void;
  dropped(item: Item): void;
  /** Something to know of that is nobody's fault here; never holds a token or a position. */
  trouble(what: string, e: unknown): void;
  /**
   * Keeps the set and has it registered: kept rejects when the store does, ack resolves
   * with what the OS took, undefined when nobody watches regions.
   */
  regions(r: Regions): { kept: Promise<void>; ack: Promise<RegionsAck | undefined> };
  message(m: Message): Promise<void>;
  granted(messageId: string): Promise<void>;
  /** A claim was refused for good, or its answer is an error, or its session ended. */
  denied(messageId: string, refused: boolean): void;
  inbox(i: Inbox): Promise<void>;
  config(c: Config): Promise<void>;
  identityNeeded(why: string): void;
}

/** The largest delay of a timer that every platform takes. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * The engine speaks the protocol: it keeps one session in the foreground, posts in the
 * background, and moves the queue. It behaves as the Go client of sdkproto/client does.
 *
 * Here is when to connect and when not. What is said on a socket is in session.ts, the
 * requests of a woken app in post.ts, token, resume and hello in standing.ts; batch.ts
 * makes the batches of both ways.
 */
export class Engine {
  readonly queue: Queue;
  state: State = "idle";
  readonly standing: Standing;
  readonly batches: Batches;
  session: Session | undefined;
  private readonly poster = new Poster(this);
  private wanted = false;
  private attempt = 0;
  private reregistered = false;
  private waitTimer: unknown;
  /** When the server wants to be asked again, by mono. */
  notBefore = 0;
  /** When the next item makes room, by mono, while the server has the app blocked; 0: it has not. */
  trimAt = 0;
  /** What became of the regions that the answer to a POST brought. */
  regionsHeard: RegionsAck | undefined;
  private drains: (() => void)[] = [];
  private leavings: (() => void)[] = [];
  private pumping = false;

  constructor(
    readonly o: EngineOptions,
    readonly ports: Ports,
    readonly events: EngineEvents,
  ) {
    this.queue = new Queue(ports.storage, ports.clock, o.maxQueue, {
      grown: () => this.kick(),
      dropped: (i) => events.dropped(i),
      trouble: (w, e) => events.trouble(w, e),
    });
    this.standing = new Standing(o, ports, this.queue, (w, e) => events.trouble(w, e));
    this.batches = new Batches(this.queue, ports.clock, o.codec, (s) => this.finish(s));
  }

  /** What hello says that other parts know. */
  get known(): Known {
    return this.standing.known;
  }

  /** The server's clock minus ours, ms, as last heard. */
  get skewMs(): number {
    return this.standing.skewMs;
  }

  /** Takes what the store holds. Called once, before anything else. */
  load(values: Map<string, Uint8Array>): void {
    this.standing.load(values);
  }

  /**
   * Enqueues an item with one body. Times, boot and id are filled in where they are
   * absent. Resolves with its seq once it is durable (0: it was dropped, the queue was
   * full). lingerMs is how long it may wait for company before it is sent.
   */
  enqueue(init: MessageInitShape<typeof ItemSchema>, lingerMs = 0): Promise<number> {
    const item = create(ItemSchema, init);
    const { clock } = this.ports;
    const now = Math.round(clock.now());
    if (item.occurredMs === 0n) item.occurredMs = BigInt(now);
    if (item.monoMs === 0n && item.bootId === "" && clock.bootId !== "") {
      const mono = Math.round(clock.mono() - (now - Number(item.occurredMs)));
      if (mono > 0) {
        item.monoMs = BigInt(mono);
        item.bootId = clock.bootId;
      }
    }
    if (this.trimAt > 0 && clock.mono() >= this.trimAt) this.trim();
    return this.queue.add(item, lingerMs);
  }

  /** At most a day of what may be dropped is left, now and every hour, until the server takes something. */
  private trim(): void {
    this.trimAt = this.clock.mono() + P.TRIM_EVERY_MS;
    this.queue.trim(P.DAY_MS);
  }

  /**
   * Keeps a websocket open from now on, reconnecting with backoff. When the last lifecycle
   * item said background, one that says foreground is enqueued: hello says it too, but an
   * item that still waits arrives after hello.
   */
  start(): void {
    if (this.wanted) return;
    this.queue.trim(P.MAX_AGE_MS);
    this.wanted = true;
    this.attempt = 0;
    this.reregistered = false;
    if (this.queue.away) void this.enqueue({ lifecycle: { state: Lifecycle_State.FOREGROUND } });
    this.connect();
  }

  /**
   * Says that the app left the foreground, waits until the queue is acknowledged or 10 s
   * have passed, and closes the connection; without an open one it does not wait.
   */
  async background(): Promise<void> {
    await this.enqueue({ lifecycle: { state: Lifecycle_State.BACKGROUND } });
    if (this.session?.phase === "open" && this.queue.length > 0) {
      this.queue.hurry();
      this.kick();
      await this.drained(P.POST_WITHIN_MS);
    }
    await this.stop("background", undefined);
  }

  /** Ends the connection at once, as when the OS kills the app. Resolves when it has ended. */
  stop(state: "background" | "stopped", why: unknown): Promise<void> {
    this.wanted = false;
    this.clock.clearTimeout(this.waitTimer);
    this.waitTimer = undefined;
    const s = this.session;
    if (!s || s.phase === "over") {
      this.setState(state, why);
      return Promise.resolve();
    }
    return new Promise((done) => {
      this.leavings.push(() => {
        if (!this.wanted) this.setState(state, why);
        done();
      });
      s.hangUp(1000, "");
    });
  }

  /**
   * Resolves when the queue is empty, the session has ended or ms have passed: true when
   * it is empty.
   */
  drained(ms: number): Promise<boolean> {
    if (this.queue.length === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const done = () => {
        this.clock.clearTimeout(timer);
        this.drains = this.drains.filter((d) => d !== look);
        resolve(this.queue.length === 0);
      };
      const look = () => {
        if (this.queue.length === 0 || this.session?.phase !== "open") done();
      };
      const timer = this.clock.setTimeout(done, ms);
      this.drains.push(look);
    });
  }

  private get clock() {
    return this.ports.clock;
  }

  setState(s: State, why: unknown): void {
    if (s === "open") this.trimAt = 0;
    if (this.state === s && why === undefined) return;
    this.state = s;
    this.events.state(s, why);
  }

  url(path: string): string {
    return this.o.endpoint.replace(/\/+$/, "") + path;
  }

  private connect(): void {
    if (!this.wanted || this.session) return;
    const early = this.notBefore - this.clock.mono();
    if (early > 0) {
      this.waitThen(early, new RetryError(early, 0, "the server asked for patience"));
      return;
    }
    this.setState("connecting", undefined);
    this.session = new Session(this);
    this.session.dial();
  }

  /** Takes back what was in flight, and acts on why the session ended. */
  ended(s: Session, code: number, reason: string): void {
    if (this.session !== s) return;
    this.session = undefined;
    const lost = s.flights.flatMap((f) => f.entries);
    this.queue.land(lost, "socket");
    s.flights = [];
    for (const id of s.claims.values()) this.events.denied(id, false);
    const action = code >= 1000 ? P.closeInfo(code).action : "reconnect";
    if (action === "bisect" || action === "halve") {
      const only = "the server closed the connection over a batch of this item alone";
      this.finish(this.queue.bisect(lost, action === "halve" ? "too_large" : "invalid", only, "socket"));
    }
    for (const look of [...this.drains]) look();
    for (const left of this.leavings.splice(0)) left();
    if (!this.wanted) return;
    let why = s.fatal;
    if (why === undefined && P.terminal(code)) why = new TerminalError(code, reason);
    // A session that ends at once proves nothing: a server that says hello_ok and then
    // goodbye is not asked without a pause.
    if (s.pingAt > 0 && this.clock.mono() - s.startedMono >= 10 * this.o.backoffMinMs) {
      this.attempt = 0;
      this.reregistered = false;
    }
    if (why instanceof TerminalError) {
      void this.endedFor(why);
      return;
    }
    if (s.leaving && why === undefined && s.leaving.afterMs > 0) {
      // A time of this phone's own: the server has spread them.
      this.waitThen(s.leaving.afterMs, new RetryError(s.leaving.afterMs, 0, "the server goes away"));
      return;
    }
    this.waitThen(this.backoff(why), why ?? new RetryError(0, 0, `connection lost: ${code} ${reason}`));
  }

  private async endedFor(why: TerminalError): Promise<void> {
    if (why.action === "reregister" && !this.reregistered) {
      const other = await this.standing.forgetToken();
      if (other) {
        this.reregistered = other === "none";
        this.connect();
        return;
      }
    }
    if (this.wanted) this.halt(why);
  }

  /** The server said never again, or only after a day. */
  halt(why: TerminalError): void {
    this.wanted = false;
    this.clock.clearTimeout(this.waitTimer);
    this.waitTimer = undefined;
    if (this.session) this.session.hangUp(1000, "");
    this.setState("stopped", why);
    if (why.action === "daily") {
      this.trim();
      this.waitTimer = this.clock.setTimeout(() => {
        if (this.state === "stopped") this.start();
      }, P.DAY_MS);
    }
  }

  private waitThen(ms: number, why: unknown): void {
    this.setState("waiting", why);
    this.clock.clearTimeout(this.waitTimer);
    this.waitTimer = this.clock.setTimeout(() => this.connect(), Math.min(ms, LONGEST_TIMER_MS));
  }

  /**
   * Full jitter between 0 and the minimum doubled with each attempt; after a server's
   * wish, that and a little jitter.
   */
  private backoff(why: unknown): number {
    const random = this.clock.random();
    const { backoffMinMs: lo, backoffMaxMs: hi } = this.o;
    const n = this.attempt++;
    if (why instanceof RetryError && why.afterMs > 0) {
      return why.afterMs + random * Math.max(why.afterMs / 4, lo);
    }
    return random * Math.min(hi, lo * 2 ** Math.min(n, 30));
  }

  /** Asks for what has changed in the inbox, when a session is open. */
  syncInbox(): void {
    this.say((id) => create(FrameSchema, { id, inboxSync: { cursor: this.standing.known.inboxCursor } }));
  }

  /** Asks whether an in-app message may be shown; false without an open session. */
  claim(messageId: string): boolean {
    return this.say((id, s) => {
      s.claims.set(id, messageId);
      return create(FrameSchema, { id, claim: { messageId } });
    });
  }

  private say(frame: (id: bigint, s: Session) => Frame): boolean {
    const s = this.session;
    return s?.say((id) => frame(id, s)) ?? false;
  }

  /** Asks for another device token, on the socket or by POST, and keeps it. Rejects as post does. */
  async refreshToken(): Promise<void> {
    if (this.say((id) => create(FrameSchema, { id, tokenRefresh: {} }))) return;
    await this.poster.refreshToken();
  }

  /**
   * What a woken app does: one POST of the oldest that waits, at most 500 items, within
   * 10 s, also of what is on its way by the socket, which may be broken; and also with nothing to say, because the answer brings
   * regions and inbox. It registers first where that is needed. A batch that is refused as
   * a whole is halved and posted again until the bad item stands alone and is given up.
   * One runs at a time.
   *
   * Rejects with a RetryError when the server wants to be asked later (until then nothing
   * is asked), a TerminalError when never, else with the network's; the items wait.
   */
  post(): Promise<void> {
    return this.poster.post();
  }

  finish(s: Settled): void {
    for (const i of s.acked) this.events.acked(i);
    for (const { item, reject } of s.refused) this.events.rejected(item, reject);
    for (const look of [...this.drains]) look();
    this.kick();
  }

  /** Something may be to send. It is looked at once what runs now is done. */
  kick(): void {
    if (this.pumping) return;
    this.pumping = true;
    queueMicrotask(() => {
      this.pumping = false;
      const s = this.session;
      if (s?.phase === "open") s.pump();
    });
  }
}
