import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type Ack,
  type BatchReply,
  BatchReplySchema,
  BatchSchema,
  type Config,
  type Error as Error$,
  type Frame,
  FrameSchema,
  type Hello,
  type HelloOk,
  HelloSchema,
  type Inbox,
  type Item,
  ItemSchema,
  Lifecycle_State,
  type Message,
  type NewToken,
  type Permissions,
  type PushTarget,
  type Regions,
  type RegionsAck,
  type Reject,
  RejectSchema,
  type Resume,
  ResumeSchema,
  TokenRefreshSchema,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { HttpResponse, Ports, Socket } from "../ports.js";
import { bodyOf, type Codec } from "./codec.js";
import { RefusedError, RetryError, TerminalError, textOf } from "./errors.js";
import * as P from "./protocol.js";
import { type Entry, type Lane, Queue, type Settled } from "./queue.js";

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

/** What hello says that other parts know. */
export interface Known {
  permissions?: Permissions;
  pushTarget?: PushTarget;
  regionsEtag: string;
  configEtag: string;
  inboxCursor: string;
}

interface Flight {
  id: bigint;
  batchId: string;
  entries: Entry[];
}

/** Keys of the values that the store keeps for the engine. */
const TOKEN = "token";
const RESUME = "resume";

const HANDSHAKE_MS = 15_000;
const GZIP_ABOVE = 4 << 10;
/** The largest delay of a timer that every platform takes. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const text = new TextEncoder();

/** One websocket. */
class Session {
  socket: Socket | undefined;
  phase: "dialing" | "greeting" | "open" | "over" = "dialing";
  startedMono: number;
  /** That hello showed. */
  token = "";
  lastId = 1n;
  credit = P.DEFAULT_CREDIT;
  frameBytes = P.MAX_FRAME_BYTES;
  batchItems = P.MAX_BATCH_ITEMS;
  pingMs = P.PING_EVERY_MS;
  flying = 0;
  flights: Flight[] = [];
  out: Frame[] = [];
  claims = new Map<bigint, string>();
  /** No batch before, by mono. */
  pause = 0;
  heard = 0;
  pingAt = 0;
  /** Mono when down_ack must have been said; 0 when nothing is owed. */
  ackBy = 0;
  saidDown = 0n;
  /** The server ends it soon: no batch more. */
  leaving: { afterMs: number; by: number } | undefined;
  fatal: unknown;
  timer: unknown;
  /** What came is handled in its order. */
  inbound: Promise<void> = Promise.resolve();

  constructor(mono: number) {
    this.startedMono = this.heard = mono;
  }

  pauseFor(mono: number, ms: number): void {
    this.pause = Math.max(this.pause, mono + ms);
  }
}

/**
 * The engine speaks the protocol: it keeps one session in the foreground, posts in the
 * background, and moves the queue. It behaves as the Go client of sdkproto/client does.
 */
export class Engine {
  readonly queue: Queue;
  state: State = "idle";
  known: Known = { regionsEtag: "", configEtag: "", inboxCursor: "" };
  /** The server's clock minus ours, ms, as last heard. */
  skewMs = 0;
  /** The token in use, and the one before it until the new one has been taken. */
  private token = "";
  private tokenBefore = "";
  private refreshDue = false;
  private resume: Resume = create(ResumeSchema);
  private session: Session | undefined;
  private wanted = false;
  private attempt = 0;
  private reregistered = false;
  private waitTimer: unknown;
  /** When the server wants to be asked again, by mono. */
  private notBefore = 0;
  /** What became of the regions that the answer to a POST brought. */
  private regionsHeard: RegionsAck | undefined;
  private posts: Promise<unknown> = Promise.resolve();
  private drains: (() => void)[] = [];
  private leavings: (() => void)[] = [];
  private pumping = false;

  constructor(
    readonly o: EngineOptions,
    readonly ports: Ports,
    private readonly events: EngineEvents,
  ) {
    this.queue = new Queue(ports.storage, ports.clock, o.maxQueue, {
      grown: () => this.kick(),
      dropped: (i) => events.dropped(i),
      trouble: (w, e) => events.trouble(w, e),
    });
  }

  /** Takes what the store holds. Called once, before anything else. */
  load(values: Map<string, Uint8Array>): void {
    this.readToken(values.get(TOKEN));
    const resume = values.get(RESUME);
    if (resume) this.resume = fromBinary(ResumeSchema, resume);
  }

  private readToken(kept: Uint8Array | undefined): void {
    const [token = "", before = ""] = kept ? new TextDecoder().decode(kept).split("\n") : [];
    this.token = token;
    this.tokenBefore = before;
  }

  // ------------------------------------------------------------------ items

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
    return this.queue.add(item, lingerMs);
  }

  // ------------------------------------------------------------------ foreground

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
      this.hangUp(s, 1000, "");
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

  private setState(s: State, why: unknown): void {
    if (this.state === s && why === undefined) return;
    this.state = s;
    this.events.state(s, why);
  }

  private url(path: string): string {
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
    const s = new Session(this.clock.mono());
    this.session = s;
    const over = (code: number, reason: string) => {
      if (s.phase === "over") return;
      s.phase = "over";
      this.clock.clearTimeout(s.timer);
      // After what came before it has been taken.
      s.inbound = s.inbound.then(() => this.end(s, code, reason));
    };
    this.alarm(s, HANDSHAKE_MS);
    s.socket = this.ports.transport.connect(this.url(P.PATH.ws).replace(/^http/, "ws"), this.o.codec.subprotocol, {
      open: (subprotocol) => {
        if (s.phase !== "dialing") return;
        if (subprotocol !== this.o.codec.subprotocol) {
          this.hangUp(s, 1000, "");
          return;
        }
        s.phase = "greeting";
        this.alarm(s, HANDSHAKE_MS);
        s.token = this.token;
        this.write(s, [create(FrameSchema, { id: 1n, hello: this.hello(Lifecycle_State.FOREGROUND) })]);
      },
      message: (data) => {
        if (s.phase === "over") return;
        s.heard = this.clock.mono();
        s.inbound = s.inbound.then(() => this.receive(s, data));
      },
      close: over,
    });
  }

  /** Ends a session from our side; its socket's close event may come much later. */
  private hangUp(s: Session, code: number, reason: string): void {
    if (s.phase === "over") return;
    s.phase = "over";
    this.clock.clearTimeout(s.timer);
    try {
      s.socket?.close(code, reason);
    } catch (e) {
      this.events.trouble("close socket", e);
    }
    s.inbound = s.inbound.then(() => this.end(s, 0, reason));
  }

  /** While a session is not open yet: it has so long. */
  private alarm(s: Session, ms: number): void {
    this.clock.clearTimeout(s.timer);
    s.timer = this.clock.setTimeout(() => this.hangUp(s, 1000, "no answer in time"), ms);
  }

  /** Takes back what was in flight, and acts on why the session ended. */
  private end(s: Session, code: number, reason: string): void {
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
      const other = await this.forgetToken();
      if (other) {
        this.reregistered = other === "none";
        this.connect();
        return;
      }
    }
    if (this.wanted) this.halt(why);
  }

  /** The server said never again, or only after a day. */
  private halt(why: TerminalError): void {
    this.wanted = false;
    this.clock.clearTimeout(this.waitTimer);
    this.waitTimer = undefined;
    if (this.session) this.hangUp(this.session, 1000, "");
    this.setState("stopped", why);
    if (why.action === "daily") {
      this.queue.trim(P.DAY_MS);
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

  /**
   * The token was refused. Whether there is something else to try with: the one before a
   * new one that was never taken ("before"), or no token at all ("none").
   */
  private async forgetToken(): Promise<"before" | "none" | undefined> {
    const refused = this.token;
    try {
      // Another page of this origin may have got a newer one, or the first.
      this.readToken(await this.ports.storage.get(TOKEN));
      if (this.token !== refused && this.token !== "") return "before";
      if (refused === "") return undefined;
      const before = this.tokenBefore;
      this.refreshDue = before !== "";
      await this.keepToken(before);
      return before === "" ? "none" : "before";
    } catch (e) {
      this.token = "";
      this.events.trouble("forget device token", e);
      return "none";
    }
  }

  private hello(state: Lifecycle_State): Hello {
    const { clock } = this.ports;
    const { known, o } = this;
    const h = create(HelloSchema, {
      ...o.identity,
      appKey: o.appKey,
      installId: o.installId,
      deviceToken: this.token,
      protoMin: P.PROTO,
      protoMax: P.PROTO,
      bootId: clock.bootId,
      wallMs: BigInt(Math.round(clock.now())),
      monoMs: clock.bootId === "" ? 0n : BigInt(Math.round(clock.mono())),
      caps: [...o.caps],
      lifecycle: state,
      configEtag: known.configEtag,
      regionsEtag: known.regionsEtag,
      inboxCursor: known.inboxCursor,
    });
    if (known.permissions) h.permissions = known.permissions;
    if (known.pushTarget) h.pushTarget = known.pushTarget;
    if (this.resume.epoch !== "" && state === Lifecycle_State.FOREGROUND) h.resume = this.resume;
    return h;
  }

  /** Takes what hello_ok says for longer than a session. Rejects when the store does. */
  private async welcome(ok: HelloOk, shown: string): Promise<void> {
    this.hearClock(ok.serverMs);
    const other = ok.newDeviceToken;
    // Beside the one that was shown: that is good until the new one is.
    if (other !== "" && other !== shown) await this.keepToken(other, shown);
    else await this.tokenTaken(shown);
    const through = Number(ok.throughSeq);
    if (through > 0 && through >= this.queue.next) await this.queue.renumber(through);
  }

  private async keepToken(token: string, before = ""): Promise<void> {
    const kept = token === "" ? undefined : text.encode(before === "" ? token : `${token}\n${before}`);
    await this.ports.storage.set(TOKEN, kept);
    this.token = token;
    this.tokenBefore = before;
  }

  /** A new token is kept beside the one in use, which is good until the new one is shown. */
  private async takeToken(t: NewToken | undefined): Promise<void> {
    if (t && t.deviceToken !== "" && t.deviceToken !== this.token) await this.keepToken(t.deviceToken, this.token);
  }

  /** The server took the token that was shown: the one before is dead. */
  private async tokenTaken(shown: string): Promise<void> {
    if (this.tokenBefore !== "" && this.token === shown) await this.keepToken(shown);
  }

  private hearClock(serverMs: bigint): void {
    if (serverMs !== 0n) this.skewMs = Number(serverMs) - this.clock.now();
  }

  // ------------------------------------------------------------------ a session

  private async receive(s: Session, data: Uint8Array | string): Promise<void> {
    if (this.session !== s) return;
    const { frames, error } = this.o.codec.frames(data);
    for (const f of frames) {
      try {
        if (s.pingAt === 0) await this.greeted(s, f);
        else await this.take(s, f);
      } catch (e) {
        // The store failed: what the frame brought is not kept, so it comes again.
        s.fatal ??= new RetryError(0, 0, textOf(e));
      }
      if (s.fatal !== undefined) break;
    }
    if (error && s.fatal === undefined) s.fatal = new RetryError(0, 0, error.message);
    if (s.fatal !== undefined) this.hangUp(s, 1000, "");
    else this.kick();
  }

  private async greeted(s: Session, f: Frame): Promise<void> {
    if (f.error) {
      s.fatal = this.sessionError(f.error);
      return;
    }
    const ok = f.helloOk;
    if (!ok) {
      s.fatal = new RetryError(0, 0, "the answer to hello is neither hello_ok nor error");
      return;
    }
    await this.welcome(ok, s.token);
    if (ok.credit > 0) s.credit = ok.credit;
    if (ok.pingMs > 0) s.pingMs = ok.pingMs;
    if (ok.limits?.frameBytes) s.frameBytes = ok.limits.frameBytes;
    if (ok.limits?.batchItems) s.batchItems = Math.min(ok.limits.batchItems, P.MAX_BATCH_ITEMS);
    const goesOn = ok.resumed && ok.epoch === this.resume.epoch;
    await this.keepResume(
      create(ResumeSchema, { session: ok.session, epoch: ok.epoch, lastSeq: goesOn ? this.resume.lastSeq : 0n }),
    );
    s.saidDown = this.resume.lastSeq;
    s.pingAt = this.clock.mono() + s.pingMs;
    if (s.phase === "over") return;
    s.phase = "open";
    this.watch(s);
    if (this.refreshDue) {
      this.refreshDue = false;
      s.out.push(create(FrameSchema, { id: ++s.lastId, tokenRefresh: {} }));
    }
    this.setState("open", undefined);
  }

  private async keepResume(r: Resume): Promise<void> {
    this.resume = r;
    await this.ports.storage.set(RESUME, toBinary(ResumeSchema, r));
  }

  private async take(s: Session, f: Frame): Promise<void> {
    const kind = bodyOf(f);
    if (f.seq !== 0n) {
      if (f.seq <= this.resume.lastSeq) return;
    }
    switch (kind) {
      case "ack":
        if (f.ack) this.takeAck(s, f.re, f.ack);
        break;
      case "message":
        if (f.message) await this.events.message(f.message);
        break;
      case "grant": {
        const id = s.claims.get(f.re);
        s.claims.delete(f.re);
        if (id === undefined || !f.grant) break;
        if (f.grant.granted && f.grant.messageId === id) await this.events.granted(id);
        else this.events.denied(id, true);
        break;
      }
      case "regions": {
        if (!f.regions) break;
        const { kept, ack } = this.events.regions(f.regions);
        await kept;
        this.regionsHeard = undefined; // of a set that is no more
        // The OS may take its time; what comes meanwhile does not wait for it.
        void ack.then((regionsAck) => {
          if (!regionsAck || s.phase !== "open") return;
          s.out.push(create(FrameSchema, { regionsAck }));
          this.kick();
        });
        break;
      }
      case "inbox":
        if (f.inbox) await this.takeInbox(f.inbox);
        break;
      case "config":
        if (f.config) await this.events.config(f.config);
        break;
      case "newToken":
        await this.takeToken(f.newToken);
        break;
      case "ping":
        s.out.push(create(FrameSchema, { re: f.id, pong: {} }));
        break;
      case "goaway":
        if (f.goaway) {
          s.leaving = { afterMs: f.goaway.reconnectAfterMs, by: this.clock.mono() + P.POST_WITHIN_MS };
        }
        break;
      case "error":
        if (f.error) this.takeError(s, f.re, f.error);
        break;
      default: // a frame of a newer server, or an answer that says no more
        break;
    }
    if (f.seq !== 0n) {
      await this.keepResume(create(ResumeSchema, { ...this.resume, lastSeq: f.seq }));
      if (s.ackBy === 0) s.ackBy = this.clock.mono() + P.DOWN_ACK_WITHIN_MS;
      this.watch(s);
    }
  }

  private async takeInbox(i: Inbox): Promise<void> {
    await this.events.inbox(i);
    if (i.more) this.syncInbox();
  }

  /** Asks for what has changed in the inbox, when a session is open. */
  syncInbox(): void {
    this.say((id) => create(FrameSchema, { id, inboxSync: { cursor: this.known.inboxCursor } }));
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
    if (s?.phase !== "open" || s.leaving) return false;
    s.out.push(frame(++s.lastId, s));
    this.kick();
    return true;
  }

  /** The flight that a frame answers, which is none any more. */
  private arrived(s: Session, re: bigint, batchId: string): Flight | undefined {
    const i = s.flights.findIndex((f) => (re !== 0n ? f.id === re : batchId !== "" && f.batchId === batchId));
    const [f] = i < 0 ? [] : s.flights.splice(i, 1);
    if (f) s.flying -= f.entries.length;
    return f;
  }

  private takeAck(s: Session, re: bigint, ack: Ack): void {
    this.hearClock(ack.serverMs);
    const f = this.arrived(s, re, ack.batchId);
    const done = f && this.queue.settle(f.entries, ack.rejects, "socket");
    if (ack.credit !== undefined) s.credit = ack.credit;
    if (ack.retryAfterMs > 0) s.pauseFor(this.clock.mono(), ack.retryAfterMs);
    else if (done?.again) s.pauseFor(this.clock.mono(), P.PAUSE_WITHOUT_MS);
    if (done) this.finish(done);
  }

  /** Acts as the table of error codes says. */
  private takeError(s: Session, re: bigint, e: Error$): void {
    const claimed = s.claims.get(re);
    if (claimed !== undefined) {
      s.claims.delete(re);
      this.events.denied(claimed, false);
    }
    const f = this.arrived(s, re, "");
    const entries = f?.entries ?? [];
    this.queue.land(entries, "socket");
    const { action } = P.errorInfo(e.code);
    switch (action) {
      case "bisect":
        this.finish(this.queue.bisect(entries, "invalid", e.reason, "socket"));
        break;
      case "halve":
        this.finish(this.queue.bisect(entries, "too_large", e.reason, "socket"));
        break;
      case "wait":
      case "backoff": {
        if (!f && re === 0n && action === "backoff" && e.code !== 111) {
          s.fatal = this.sessionError(e); // the session, not a batch
          break;
        }
        const after = e.retryAfterMs || (e.code === 111 ? P.RETRY_WITHOUT_MS : 0);
        s.pauseFor(this.clock.mono(), Math.max(after, P.PAUSE_WITHOUT_MS));
        break;
      }
      case "stop":
      case "daily":
      case "reregister":
        s.fatal = this.sessionError(e);
        break;
      case "ask_host":
        this.events.identityNeeded(e.reason);
        break;
      default: // an unknown frame: the session goes on
        this.events.trouble("server says", e.name);
    }
  }

  /** The error that ends a session or a POST after an error frame. */
  private sessionError(e: Error$): RetryError | TerminalError {
    switch (P.errorInfo(e.code).action) {
      case "stop":
      case "daily":
      case "reregister":
      case "ask_host":
        return new TerminalError(e.code, e.reason);
      default:
        return new RetryError(e.retryAfterMs || (e.code === 111 ? P.RETRY_WITHOUT_MS : 0), e.code, e.reason);
    }
  }

  private finish(s: Settled): void {
    for (const i of s.acked) this.events.acked(i);
    for (const { item, reject } of s.refused) this.events.rejected(item, reject);
    for (const look of [...this.drains]) look();
    this.kick();
  }

  // ------------------------------------------------------------------ sending

  /** Something may be to send. It is looked at once what runs now is done. */
  kick(): void {
    if (this.pumping) return;
    this.pumping = true;
    queueMicrotask(() => {
      this.pumping = false;
      const s = this.session;
      if (s?.phase === "open") this.pump(s);
    });
  }

  /** Sends the control frames that wait, then batches as far as the credit goes. */
  private pump(s: Session): void {
    while (s.out.length > 0 && s.phase === "open") {
      this.write(s, s.out.splice(0));
    }
    const mono = this.clock.mono();
    if (s.leaving) {
      if (s.flights.length === 0 || mono >= s.leaving.by) this.hangUp(s, 1000, "goaway");
      else this.watch(s);
      return;
    }
    while (s.phase === "open" && this.mayBatch(s, mono)) {
      const n = Math.min(s.credit - s.flying, s.batchItems);
      const f = this.encodeBatch(n, s.frameBytes, "socket", (init) =>
        this.o.codec.frame(this.withDownAck(s, create(FrameSchema, { id: s.lastId + 1n, batch: init }))),
      );
      if (!f) break;
      const id = ++s.lastId;
      s.flights.push({ id, batchId: f.batchId, entries: f.entries });
      s.flying += f.entries.length;
      s.saidDown = this.resume.lastSeq;
      this.send(s, [f.bytes]);
    }
    if (s.saidDown >= this.resume.lastSeq) s.ackBy = 0;
    this.watch(s);
  }

  private mayBatch(s: Session, mono: number): boolean {
    if (s.pause > mono || s.flying >= s.credit) return false;
    // One at a time, to know which one is refused.
    if (this.queue.most > 0 && s.flights.length > 0) return false;
    return this.queue.due() === 0;
  }

  private withDownAck(s: Session, f: Frame): Frame {
    if (this.resume.lastSeq > s.saidDown) f.downAck = this.resume.lastSeq;
    return f;
  }

  /** Writes frames, as many messages as they need. */
  private write(s: Session, frames: Frame[]): void {
    let some: Uint8Array[] = [];
    let size = 0;
    const flush = () => {
      if (some.length > 0) this.send(s, some);
      some = [];
      size = 0;
    };
    for (const f of frames) {
      const b = this.o.codec.frame(this.withDownAck(s, f));
      if (f.downAck !== 0n) s.saidDown = f.downAck;
      if (size > 0 && (size + b.length + this.o.codec.gap > s.frameBytes || some.length === P.MAX_FRAMES)) flush();
      if (b.length > s.frameBytes) continue; // one that can never be sent
      some.push(b);
      size += b.length + this.o.codec.gap;
    }
    flush();
    if (s.saidDown >= this.resume.lastSeq) s.ackBy = 0;
  }

  private send(s: Session, frames: Uint8Array[]): void {
    if (s.phase === "over") return;
    try {
      s.socket?.send(this.o.codec.join(frames));
    } catch (e) {
      this.hangUp(s, 1000, textOf(e));
    }
  }

  /** Sets the session's one timer to what is due next. */
  private watch(s: Session): void {
    if (s.phase !== "open") return;
    const mono = this.clock.mono();
    const deadAt = s.heard + s.pingMs + this.o.deadAfterMs;
    let at = Math.min(s.pingAt, deadAt);
    if (s.ackBy > 0) at = Math.min(at, s.ackBy);
    if (s.pause > mono) at = Math.min(at, s.pause);
    if (s.leaving) at = Math.min(at, s.leaving.by);
    const due = this.queue.due();
    if (due > mono) at = Math.min(at, due);
    this.clock.clearTimeout(s.timer);
    s.timer = this.clock.setTimeout(() => this.tick(s), Math.max(1, at - mono));
  }

  private tick(s: Session): void {
    if (s.phase !== "open") return;
    const mono = this.clock.mono();
    if (mono >= s.heard + s.pingMs + this.o.deadAfterMs) {
      this.hangUp(s, 1000, "nothing was heard");
      return;
    }
    // A page cannot see the server's websocket pings, so it asks by itself.
    if (mono >= s.pingAt || (s.ackBy > 0 && mono >= s.ackBy)) {
      s.pingAt = mono + s.pingMs;
      s.ackBy = 0;
      s.out.push(create(FrameSchema, { id: ++s.lastId, ping: {} }));
    }
    this.pump(s);
  }

  /**
   * Takes at most n items that fit limit when encoded. Items that no message can carry are
   * refused on the way.
   */
  private encodeBatch(
    n: number,
    limit: number,
    lane: Lane,
    encode: (b: MessageInitShape<typeof BatchSchema>) => Uint8Array,
  ): { batchId: string; entries: Entry[]; bytes: Uint8Array } | undefined {
    let size = limit - 256; // batch and frame around the items
    if (this.o.codec.gap > 0) size = Math.floor(size / 3); // JSON is longer; what does not fit is halved
    for (;;) {
      const es = this.queue.take(n, size, lane);
      const first = es[0];
      if (!first) return undefined;
      const batch = this.batch(es);
      let bytes: Uint8Array | undefined;
      let why = `more than ${limit} bytes`;
      try {
        bytes = encode(batch);
        if (bytes.length <= limit) {
          for (const e of es) e.attempts++;
          return { batchId: batch.batchId ?? "", entries: es, bytes };
        }
      } catch (e) {
        why = `cannot be encoded: ${textOf(e)}`;
      }
      this.queue.land(es, lane);
      if (es.length > 1) {
        n = es.length >> 1;
        continue;
      }
      const reject = create(RejectSchema, {
        seq: first.item.seq,
        itemId: first.item.itemId,
        code: bytes ? "too_large" : "invalid",
        reason: why,
      });
      this.finish(this.queue.settle(es, [reject], lane));
    }
  }

  private batch(es: readonly Entry[]) {
    const { clock } = this.ports;
    return {
      batchId: this.queue.batchId(),
      attempt: es.reduce((n, e) => Math.max(n, e.attempts + 1), 0),
      sentMs: BigInt(Math.round(clock.now())),
      sentMonoMs: clock.bootId === "" ? 0n : BigInt(Math.round(clock.mono())),
      bootId: clock.bootId,
      items: es.map((e) => e.item),
    };
  }

  // ------------------------------------------------------------------ POST

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
    const run = this.posts.then(() => this.postAll());
    this.posts = run.catch(() => undefined);
    return run;
  }

  private async postAll(): Promise<void> {
    const until = this.clock.mono() + P.POST_WITHIN_MS;
    await this.queue.settledDown();
    for (let reregistered = false; ; ) {
      try {
        await this.register(until);
        if (!(await this.postOnce(until))) return;
      } catch (e) {
        if (!(e instanceof TerminalError)) throw e;
        const other: "before" | "none" | undefined =
          e.action === "reregister" && !reregistered ? await this.forgetToken() : undefined;
        if (!other) {
          this.halt(e);
          throw e;
        }
        reregistered = other === "none";
      }
    }
  }

  private async register(until: number): Promise<void> {
    if (this.token !== "") return;
    const body = this.o.codec.encode(HelloSchema, this.hello(Lifecycle_State.BACKGROUND));
    const reply = await this.request("POST", P.PATH.install, body, until);
    if (!reply.helloOk || reply.helloOk.newDeviceToken === "") {
      throw new RetryError(0, 0, "register: the answer holds no device token");
    }
    await this.welcome(reply.helloOk, "");
    await this.takeReply(reply);
  }

  /** One POST; true when another should follow at once. */
  private async postOnce(until: number): Promise<boolean> {
    const { known } = this;
    const heard = this.regionsHeard;
    const extra = {
      configEtag: known.configEtag,
      inboxCursor: known.inboxCursor,
      ...(heard ? { regionsAck: heard } : {}),
    };
    const encode = (b: MessageInitShape<typeof BatchSchema>) =>
      this.o.codec.encode(BatchSchema, create(BatchSchema, { ...b, ...extra }));
    const f = this.encodeBatch(P.MAX_BATCH_ITEMS, P.MAX_BODY_BYTES, "post", encode);
    const entries = f?.entries ?? [];
    const body = f?.bytes ?? encode(this.batch([]));
    let reply: BatchReply;
    try {
      reply = await this.request("POST", P.PATH.batch, body, until);
    } catch (e) {
      if (e instanceof RefusedError && (entries.length > 1 || (entries.length === 1 && !e.bare))) {
        this.finish(this.queue.bisect(entries, e.code === 108 ? "too_large" : "invalid", e.message, "post"));
        return true;
      }
      this.queue.land(entries, "post");
      this.kick();
      throw e;
    }
    if (!reply.ack) {
      this.queue.land(entries, "post");
      this.kick();
      await this.takeReply(reply);
      throw new RetryError(0, 0, "the answer holds no ack");
    }
    if (this.regionsHeard === heard) this.regionsHeard = undefined;
    // While a bad item is searched for, its neighbours go on; and what waited for a logout's ack.
    const goOn = this.queue.most > 0 || entries.at(-1)?.item.logout !== undefined;
    const done = this.queue.settle(entries, reply.ack.rejects, "post");
    if (reply.ack.retryAfterMs > 0) this.notBefore = this.clock.mono() + reply.ack.retryAfterMs;
    this.hearClock(reply.ack.serverMs);
    this.finish(done);
    await this.takeReply(reply);
    return goOn && this.queue.length > 0 && !done.again;
  }

  private async takeReply(r: BatchReply): Promise<void> {
    await this.takeToken(r.newToken);
    if (r.regions) {
      const { kept, ack } = this.events.regions(r.regions);
      await kept;
      // A woken app sleeps again once its promise is kept: the circles come first.
      this.regionsHeard = await this.within(ack, P.POST_WITHIN_MS / 2);
    }
    if (r.config) await this.events.config(r.config);
    for (const m of r.messages) await this.events.message(m);
    let inbox = r.inbox;
    for (let pages = 0; inbox && pages < 10; pages++) {
      await this.events.inbox(inbox);
      if (!inbox.more) break;
      inbox = (await this.getInbox(this.clock.mono() + P.POST_WITHIN_MS)).inbox;
    }
  }

  /** What the promise brings; undefined when it brings nothing within ms. */
  private within<T>(p: Promise<T>, ms: number): Promise<T | undefined> {
    let timer: unknown;
    const late = new Promise<undefined>((resolve) => {
      timer = this.clock.setTimeout(() => resolve(undefined), ms);
    });
    return Promise.race([p, late]).finally(() => this.clock.clearTimeout(timer));
  }

  private getInbox(until: number): Promise<BatchReply> {
    const path = `${P.PATH.inbox}?cursor=${encodeURIComponent(this.known.inboxCursor)}`;
    return this.request("GET", path, undefined, until);
  }

  /** Asks for another device token, on the socket or by POST, and keeps it. Rejects as post does. */
  async refreshToken(): Promise<void> {
    if (this.say((id) => create(FrameSchema, { id, tokenRefresh: {} }))) return;
    const until = this.clock.mono() + P.POST_WITHIN_MS;
    await this.register(until);
    const body = this.o.codec.encode(TokenRefreshSchema, create(TokenRefreshSchema));
    await this.takeReply(await this.request("POST", P.PATH.token, body, until));
  }

  /** Sends a request and reads the answer. A status that is not 200 is an error. */
  private async request(
    method: "GET" | "POST",
    path: string,
    body: Uint8Array | undefined,
    until: number,
  ): Promise<BatchReply> {
    const { codec, appKey, installId, caps } = this.o;
    const { transport } = this.ports;
    const early = this.notBefore - this.clock.mono();
    if (early > 0) throw new RetryError(early, 0, "the server asked for patience");
    const headers: Record<string, string> = {
      Accept: codec.contentType,
      "Footfall-App-Key": appKey,
      "Footfall-Install": installId,
      "Footfall-Caps": caps.join(","),
    };
    const shown = this.token;
    if (shown !== "") headers.Authorization = `Bearer ${shown}`;
    if (body) {
      headers["Content-Type"] = codec.contentType;
      if (body.length > GZIP_ABOVE && transport.gzip) {
        const zipped = await transport.gzip(body);
        // A body so repetitive that the server would take it for a bomb goes as it is.
        if (zipped.length * P.MAX_GZIP_RATIO > body.length) {
          body = zipped;
          headers["Content-Encoding"] = "gzip";
        }
      }
    }
    const timeoutMs = Math.max(1, until - this.clock.mono());
    const r = await transport.request({ method, url: this.url(path), headers, timeoutMs, ...(body ? { body } : {}) });
    if (r.status !== 200) throw this.httpError(r);
    if (!this.ours(r)) throw new RetryError(0, 0, "the answer is a proxy's");
    await this.tokenTaken(shown);
    const reply = codec.decode(BatchReplySchema, r.body);
    if (reply.error) throw this.sessionError(reply.error);
    return reply;
  }

  /** Whether the server speaks, and not a proxy or a captive portal. */
  private ours(r: HttpResponse): boolean {
    return r.header("content-type")?.startsWith(this.o.codec.contentType) ?? false;
  }

  private httpError(r: HttpResponse): Error {
    let e: Error$ | undefined;
    if (this.ours(r)) {
      try {
        e = this.o.codec.decode(BatchReplySchema, r.body).error;
      } catch {
        // Then it is as a proxy's.
      }
    }
    const code = e?.code ?? P.codeOfStatus(r.status);
    const reason = e?.reason ?? `HTTP ${r.status}`;
    if (code === 107 || code === 108) return new RefusedError(code, reason, e === undefined);
    const seconds = Math.min(Number.parseInt(r.header("retry-after") ?? "", 10) || 0, 24 * 3600);
    const after = e?.retryAfterMs || seconds * 1000;
    const action = P.errorInfo(code).action;
    if (action !== "backoff" && action !== "wait") return new TerminalError(code, reason);
    const retry = new RetryError(after || (code === 111 ? P.RETRY_WITHOUT_MS : 0), code, reason);
    if (retry.afterMs > 0) this.notBefore = this.clock.mono() + retry.afterMs;
    return retry;
  }
}
