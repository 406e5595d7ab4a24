import { create } from "@bufbuild/protobuf";
import {
  type Ack,
  type Error as Error$,
  type Frame,
  FrameSchema,
  type Inbox,
  Lifecycle_State,
  ResumeSchema,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { ClockPort, Socket } from "../ports.js";
import { bodyOf, type Codec } from "./codec.js";
import type { Engine, EngineEvents } from "./engine.js";
import { errorOf, RetryError, textOf } from "./errors.js";
import * as P from "./protocol.js";
import type { Entry } from "./queue.js";
import type { Standing } from "./standing.js";

interface Flight {
  id: bigint;
  batchId: string;
  entries: Entry[];
}

const HANDSHAKE_MS = 15_000;

/** One websocket: from dialing to its end, which it tells the engine. */
export class Session {
  private readonly clock: ClockPort;
  private readonly codec: Codec;
  private readonly standing: Standing;
  private readonly events: EngineEvents;
  private socket: Socket | undefined;
  phase: "dialing" | "greeting" | "open" | "over" = "dialing";
  startedMono: number;
  /** That hello showed. */
  private token = "";
  private lastId = 1n;
  private credit = P.DEFAULT_CREDIT;
  private frameBytes = P.MAX_FRAME_BYTES;
  private batchItems = P.MAX_BATCH_ITEMS;
  private pingMs = P.PING_EVERY_MS;
  private flying = 0;
  flights: Flight[] = [];
  private out: Frame[] = [];
  claims = new Map<bigint, string>();
  /** No batch before, by mono. */
  private pause = 0;
  private heard = 0;
  pingAt = 0;
  /** Mono when down_ack must have been said; 0 when nothing is owed. */
  private ackBy = 0;
  private saidDown = 0n;
  /** The server ends it soon: no batch more. */
  leaving: { afterMs: number; by: number } | undefined;
  fatal: unknown;
  private timer: unknown;
  /** What came is handled in its order. */
  inbound: Promise<void> = Promise.resolve();

  constructor(private readonly engine: Engine) {
    this.clock = engine.ports.clock;
    this.codec = engine.o.codec;
    this.standing = engine.standing;
    this.events = engine.events;
    this.startedMono = this.heard = this.clock.mono();
  }

  /** Connects and says hello. */
  dial(): void {
    const over = (code: number, reason: string) => {
      if (this.phase === "over") return;
      this.phase = "over";
      this.clock.clearTimeout(this.timer);
      // After what came before it has been taken.
      this.inbound = this.inbound.then(() => this.engine.ended(this, code, reason));
    };
    this.alarm(HANDSHAKE_MS);
    this.socket = this.engine.ports.transport.connect(
      this.engine.url(P.PATH.ws).replace(/^http/, "ws"),
      this.codec.subprotocol,
      {
        open: (subprotocol) => {
          if (this.phase !== "dialing") return;
          if (subprotocol !== this.codec.subprotocol) {
            this.hangUp(1000, "");
            return;
          }
          this.phase = "greeting";
          this.alarm(HANDSHAKE_MS);
          this.token = this.standing.token;
          this.write([create(FrameSchema, { id: 1n, hello: this.standing.hello(Lifecycle_State.FOREGROUND) })]);
        },
        message: (data) => {
          if (this.phase === "over") return;
          this.heard = this.clock.mono();
          this.inbound = this.inbound.then(() => this.receive(data));
        },
        close: over,
      },
    );
  }

  private pauseFor(ms: number): void {
    this.pause = Math.max(this.pause, this.clock.mono() + ms);
  }

  /** Ends a session from our side; its socket's close event may come much later. */
  hangUp(code: number, reason: string): void {
    if (this.phase === "over") return;
    this.phase = "over";
    this.clock.clearTimeout(this.timer);
    try {
      this.socket?.close(code, reason);
    } catch (e) {
      this.events.trouble("close socket", e);
    }
    this.inbound = this.inbound.then(() => this.engine.ended(this, 0, reason));
  }

  /** While a session is not open yet: it has so long. */
  private alarm(ms: number): void {
    this.clock.clearTimeout(this.timer);
    this.timer = this.clock.setTimeout(() => this.hangUp(1000, "no answer in time"), ms);
  }

  private async receive(data: Uint8Array | string): Promise<void> {
    if (this.engine.session !== this) return;
    const { frames, error } = this.codec.frames(data);
    for (const f of frames) {
      try {
        if (this.pingAt === 0) await this.greeted(f);
        else await this.take(f);
      } catch (e) {
        // The store failed: what the frame brought is not kept, so it comes again.
        this.fatal ??= new RetryError(0, 0, textOf(e));
      }
      if (this.fatal !== undefined) break;
    }
    if (error && this.fatal === undefined) this.fatal = new RetryError(0, 0, error.message);
    if (this.fatal !== undefined) this.hangUp(1000, "");
    else this.engine.kick();
  }

  private async greeted(f: Frame): Promise<void> {
    if (f.error) {
      this.fatal = errorOf(f.error);
      return;
    }
    const ok = f.helloOk;
    if (!ok) {
      this.fatal = new RetryError(0, 0, "the answer to hello is neither hello_ok nor error");
      return;
    }
    await this.standing.welcome(ok, this.token);
    if (ok.credit > 0) this.credit = ok.credit;
    if (ok.pingMs > 0) this.pingMs = ok.pingMs;
    if (ok.limits?.frameBytes) this.frameBytes = ok.limits.frameBytes;
    if (ok.limits?.batchItems) this.batchItems = Math.min(ok.limits.batchItems, P.MAX_BATCH_ITEMS);
    const goesOn = ok.resumed && ok.epoch === this.standing.resume.epoch;
    await this.standing.keepResume(
      create(ResumeSchema, {
        session: ok.session,
        epoch: ok.epoch,
        lastSeq: goesOn ? this.standing.resume.lastSeq : 0n,
      }),
    );
    this.saidDown = this.standing.resume.lastSeq;
    this.pingAt = this.clock.mono() + this.pingMs;
    if (this.phase === "over") return;
    this.phase = "open";
    this.watch();
    if (this.standing.refreshDue) {
      this.standing.refreshDue = false;
      this.out.push(create(FrameSchema, { id: ++this.lastId, tokenRefresh: {} }));
    }
    this.engine.setState("open", undefined);
  }

  private async take(f: Frame): Promise<void> {
    const kind = bodyOf(f);
    if (f.seq !== 0n) {
      if (f.seq <= this.standing.resume.lastSeq) return;
    }
    switch (kind) {
      case "ack":
        if (f.ack) this.takeAck(f.re, f.ack);
        break;
      case "message":
        if (f.message) await this.events.message(f.message);
        break;
      case "grant": {
        const id = this.claims.get(f.re);
        this.claims.delete(f.re);
        if (id === undefined || !f.grant) break;
        if (f.grant.granted && f.grant.messageId === id) await this.events.granted(id);
        else this.events.denied(id, true);
        break;
      }
      case "regions": {
        if (!f.regions) break;
        const { kept, ack } = this.events.regions(f.regions);
        await kept;
        this.engine.regionsHeard = undefined; // of a set that is no more
        // The OS may take its time; what comes meanwhile does not wait for it.
        void ack.then((regionsAck) => {
          if (!regionsAck || this.phase !== "open") return;
          this.out.push(create(FrameSchema, { regionsAck }));
          this.engine.kick();
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
        await this.standing.takeToken(f.newToken);
        break;
      case "ping":
        this.out.push(create(FrameSchema, { re: f.id, pong: {} }));
        break;
      case "goaway":
        if (f.goaway) {
          this.leaving = { afterMs: f.goaway.reconnectAfterMs, by: this.clock.mono() + P.POST_WITHIN_MS };
        }
        break;
      case "error":
        if (f.error) this.takeError(f.re, f.error);
        break;
      default: // a frame of a newer server, or an answer that says no more
        break;
    }
    if (f.seq !== 0n) {
      await this.standing.keepResume(create(ResumeSchema, { ...this.standing.resume, lastSeq: f.seq }));
      if (this.ackBy === 0) this.ackBy = this.clock.mono() + P.DOWN_ACK_WITHIN_MS;
      this.watch();
    }
  }

  private async takeInbox(i: Inbox): Promise<void> {
    await this.events.inbox(i);
    if (i.more) this.engine.syncInbox();
  }

  /** Sends a control frame; false when the session is not open, or leaving. */
  say(frame: (id: bigint) => Frame): boolean {
    if (this.phase !== "open" || this.leaving) return false;
    this.out.push(frame(++this.lastId));
    this.engine.kick();
    return true;
  }

  /** The flight that a frame answers, which is none any more. */
  private arrived(re: bigint, batchId: string): Flight | undefined {
    const i = this.flights.findIndex((f) => (re !== 0n ? f.id === re : batchId !== "" && f.batchId === batchId));
    const [f] = i < 0 ? [] : this.flights.splice(i, 1);
    if (f) this.flying -= f.entries.length;
    return f;
  }

  private takeAck(re: bigint, ack: Ack): void {
    this.standing.hearClock(ack.serverMs);
    const f = this.arrived(re, ack.batchId);
    const done = f && this.engine.queue.settle(f.entries, ack.rejects, "socket");
    if (ack.credit !== undefined) this.credit = ack.credit;
    if (ack.retryAfterMs > 0) this.pauseFor(ack.retryAfterMs);
    else if (done?.again) this.pauseFor(P.PAUSE_WITHOUT_MS);
    if (done) this.engine.finish(done);
  }

  /** Acts as the table of error codes says. */
  private takeError(re: bigint, e: Error$): void {
    const claimed = this.claims.get(re);
    if (claimed !== undefined) {
      this.claims.delete(re);
      this.events.denied(claimed, false);
    }
    const f = this.arrived(re, "");
    const entries = f?.entries ?? [];
    this.engine.queue.land(entries, "socket");
    const { action } = P.errorInfo(e.code);
    switch (action) {
      case "bisect":
        this.engine.finish(this.engine.queue.bisect(entries, "invalid", e.reason, "socket"));
        break;
      case "halve":
        this.engine.finish(this.engine.queue.bisect(entries, "too_large", e.reason, "socket"));
        break;
      case "wait":
      case "backoff": {
        if (!f && re === 0n && action === "backoff" && e.code !== 111) {
          this.fatal = errorOf(e); // the session, not a batch
          break;
        }
        const after = e.retryAfterMs || (e.code === 111 ? P.RETRY_WITHOUT_MS : 0);
        this.pauseFor(Math.max(after, P.PAUSE_WITHOUT_MS));
        break;
      }
      case "stop":
      case "daily":
      case "reregister":
        this.fatal = errorOf(e);
        break;
      case "ask_host":
        this.events.identityNeeded(e.reason);
        break;
      default: // an unknown frame: the session goes on
        this.events.trouble("server says", e.name);
    }
  }

  /** Sends the control frames that wait, then batches as far as the credit goes. */
  pump(): void {
    while (this.out.length > 0 && this.phase === "open") {
      this.write(this.out.splice(0));
    }
    const mono = this.clock.mono();
    if (this.leaving) {
      if (this.flights.length === 0 || mono >= this.leaving.by) this.hangUp(1000, "goaway");
      else this.watch();
      return;
    }
    while (this.phase === "open" && this.mayBatch(mono)) {
      const n = Math.min(this.credit - this.flying, this.batchItems);
      const f = this.engine.batches.encode(n, this.frameBytes, "socket", (init) =>
        this.codec.frame(this.withDownAck(create(FrameSchema, { id: this.lastId + 1n, batch: init }))),
      );
      if (!f) break;
      const id = ++this.lastId;
      this.flights.push({ id, batchId: f.batchId, entries: f.entries });
      this.flying += f.entries.length;
      this.saidDown = this.standing.resume.lastSeq;
      this.send([f.bytes]);
    }
    if (this.saidDown >= this.standing.resume.lastSeq) this.ackBy = 0;
    this.watch();
  }

  private mayBatch(mono: number): boolean {
    if (this.pause > mono || this.flying >= this.credit) return false;
    // One at a time, to know which one is refused.
    if (this.engine.queue.most > 0 && this.flights.length > 0) return false;
    return this.engine.queue.due() === 0;
  }

  private withDownAck(f: Frame): Frame {
    if (this.standing.resume.lastSeq > this.saidDown) f.downAck = this.standing.resume.lastSeq;
    return f;
  }

  /** Writes frames, as many messages as they need. */
  private write(frames: Frame[]): void {
    let some: Uint8Array[] = [];
    let size = 0;
    const flush = () => {
      if (some.length > 0) this.send(some);
      some = [];
      size = 0;
    };
    for (const f of frames) {
      const b = this.codec.frame(this.withDownAck(f));
      if (f.downAck !== 0n) this.saidDown = f.downAck;
      if (size > 0 && (size + b.length + this.codec.gap > this.frameBytes || some.length === P.MAX_FRAMES)) flush();
      if (b.length > this.frameBytes) continue; // one that can never be sent
      some.push(b);
      size += b.length + this.codec.gap;
    }
    flush();
    if (this.saidDown >= this.standing.resume.lastSeq) this.ackBy = 0;
  }

  private send(frames: Uint8Array[]): void {
    if (this.phase === "over") return;
    try {
      this.socket?.send(this.codec.join(frames));
    } catch (e) {
      this.hangUp(1000, textOf(e));
    }
  }

  /** Sets the session's one timer to what is due next. */
  private watch(): void {
    if (this.phase !== "open") return;
    const mono = this.clock.mono();
    const deadAt = this.heard + this.pingMs + this.engine.o.deadAfterMs;
    let at = Math.min(this.pingAt, deadAt);
    if (this.ackBy > 0) at = Math.min(at, this.ackBy);
    if (this.pause > mono) at = Math.min(at, this.pause);
    if (this.leaving) at = Math.min(at, this.leaving.by);
    const due = this.engine.queue.due();
    if (due > mono) at = Math.min(at, due);
    this.clock.clearTimeout(this.timer);
    this.timer = this.clock.setTimeout(() => this.tick(), Math.max(1, at - mono));
  }

  private tick(): void {
    if (this.phase !== "open") return;
    const mono = this.clock.mono();
    if (mono >= this.heard + this.pingMs + this.engine.o.deadAfterMs) {
      this.hangUp(1000, "nothing was heard");
      return;
    }
    // A page cannot see the server's websocket pings, so it asks by itself.
    if (mono >= this.pingAt || (this.ackBy > 0 && mono >= this.ackBy)) {
      this.pingAt = mono + this.pingMs;
      this.ackBy = 0;
      this.out.push(create(FrameSchema, { id: ++this.lastId, ping: {} }));
    }
    this.pump();
  }
}
