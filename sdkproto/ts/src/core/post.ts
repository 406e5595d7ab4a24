import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type BatchReply,
  BatchReplySchema,
  BatchSchema,
  type Error as Error$,
  HelloSchema,
  Lifecycle_State,
  TokenRefreshSchema,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { HttpResponse } from "../ports.js";
import type { Engine } from "./engine.js";
import { errorOf, RefusedError, RetryError, TerminalError } from "./errors.js";
import * as P from "./protocol.js";

const GZIP_ABOVE = 4 << 10;

/** Poster speaks the protocol by single requests, as a woken app does. */
export class Poster {
  private posts: Promise<unknown> = Promise.resolve();

  constructor(private readonly engine: Engine) {}

  private get standing() {
    return this.engine.standing;
  }

  private get clock() {
    return this.engine.ports.clock;
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
    const run = this.posts.then(() => this.postAll());
    this.posts = run.catch(() => undefined);
    return run;
  }

  private async postAll(): Promise<void> {
    const until = this.clock.mono() + P.POST_WITHIN_MS;
    await this.engine.queue.settledDown();
    for (let reregistered = false; ; ) {
      try {
        await this.register(until);
        if (!(await this.postOnce(until))) return;
      } catch (e) {
        if (!(e instanceof TerminalError)) throw e;
        const other: "before" | "none" | undefined =
          e.action === "reregister" && !reregistered ? await this.standing.forgetToken() : undefined;
        if (!other) {
          this.engine.halt(e);
          throw e;
        }
        reregistered = other === "none";
      }
    }
  }

  private async register(until: number): Promise<void> {
    if (this.standing.token !== "") return;
    const body = this.engine.o.codec.encode(HelloSchema, this.standing.hello(Lifecycle_State.BACKGROUND));
    const reply = await this.request("POST", P.PATH.install, body, until);
    if (!reply.helloOk || reply.helloOk.newDeviceToken === "") {
      throw new RetryError(0, 0, "register: the answer holds no device token");
    }
    await this.standing.welcome(reply.helloOk, "");
    await this.takeReply(reply);
  }

  /** One POST; true when another should follow at once. */
  private async postOnce(until: number): Promise<boolean> {
    const { known } = this.standing;
    const heard = this.engine.regionsHeard;
    const extra = {
      configEtag: known.configEtag,
      inboxCursor: known.inboxCursor,
      ...(heard ? { regionsAck: heard } : {}),
    };
    const encode = (b: MessageInitShape<typeof BatchSchema>) =>
      this.engine.o.codec.encode(BatchSchema, create(BatchSchema, { ...b, ...extra }));
    const f = this.engine.batches.encode(P.MAX_BATCH_ITEMS, P.MAX_BODY_BYTES, "post", encode);
    const entries = f?.entries ?? [];
    const body = f?.bytes ?? encode(this.engine.batches.of([]));
    let reply: BatchReply;
    try {
      reply = await this.request("POST", P.PATH.batch, body, until);
    } catch (e) {
      if (e instanceof RefusedError && (entries.length > 1 || (entries.length === 1 && !e.bare))) {
        this.engine.finish(
          this.engine.queue.bisect(entries, e.code === 108 ? "too_large" : "invalid", e.message, "post"),
        );
        return true;
      }
      this.engine.queue.land(entries, "post");
      this.engine.kick();
      throw e;
    }
    if (!reply.ack) {
      this.engine.queue.land(entries, "post");
      this.engine.kick();
      await this.takeReply(reply);
      throw new RetryError(0, 0, "the answer holds no ack");
    }
    this.engine.trimAt = 0;
    if (this.engine.regionsHeard === heard) this.engine.regionsHeard = undefined;
    // While a bad item is searched for, its neighbours go on; and what waited for a logout's ack.
    const goOn = this.engine.queue.most > 0 || entries.at(-1)?.item.logout !== undefined;
    const done = this.engine.queue.settle(entries, reply.ack.rejects, "post");
    if (reply.ack.retryAfterMs > 0) this.engine.notBefore = this.clock.mono() + reply.ack.retryAfterMs;
    this.standing.hearClock(reply.ack.serverMs);
    this.engine.finish(done);
    await this.takeReply(reply);
    return goOn && this.engine.queue.length > 0 && !done.again;
  }

  private async takeReply(r: BatchReply): Promise<void> {
    await this.standing.takeToken(r.newToken);
    if (r.regions) {
      const { kept, ack } = this.engine.events.regions(r.regions);
      await kept;
      // A woken app sleeps again once its promise is kept: the circles come first.
      this.engine.regionsHeard = await this.within(ack, P.POST_WITHIN_MS / 2);
    }
    if (r.config) await this.engine.events.config(r.config);
    for (const m of r.messages) await this.engine.events.message(m);
    let inbox = r.inbox;
    for (let pages = 0; inbox && pages < 10; pages++) {
      await this.engine.events.inbox(inbox);
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
    const path = `${P.PATH.inbox}?cursor=${encodeURIComponent(this.standing.known.inboxCursor)}`;
    return this.request("GET", path, undefined, until);
  }

  /** Asks for another device token and keeps it. Rejects as post does. */
  async refreshToken(): Promise<void> {
    const until = this.clock.mono() + P.POST_WITHIN_MS;
    await this.register(until);
    const body = this.engine.o.codec.encode(TokenRefreshSchema, create(TokenRefreshSchema));
    await this.takeReply(await this.request("POST", P.PATH.token, body, until));
  }

  /** Sends a request and reads the answer. A status that is not 200 is an error. */
  private async request(
    method: "GET" | "POST",
    path: string,
    body: Uint8Array | undefined,
    until: number,
  ): Promise<BatchReply> {
    const { codec, appKey, installId, caps } = this.engine.o;
    const { transport } = this.engine.ports;
    const early = this.engine.notBefore - this.clock.mono();
    if (early > 0) throw new RetryError(early, 0, "the server asked for patience");
    const headers: Record<string, string> = {
      Accept: codec.contentType,
      "Footfall-App-Key": appKey,
      "Footfall-Install": installId,
      "Footfall-Caps": caps.join(","),
    };
    const shown = this.standing.token;
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
    const r = await transport.request({
      method,
      url: this.engine.url(path),
      headers,
      timeoutMs,
      ...(body ? { body } : {}),
    });
    if (r.status !== 200) throw this.httpError(r);
    if (!this.ours(r)) throw new RetryError(0, 0, "the answer is a proxy's");
    await this.standing.tokenTaken(shown);
    const reply = codec.decode(BatchReplySchema, r.body);
    if (reply.error) throw errorOf(reply.error);
    return reply;
  }

  /** Whether the server speaks, and not a proxy or a captive portal. */
  private ours(r: HttpResponse): boolean {
    return r.header("content-type")?.startsWith(this.engine.o.codec.contentType) ?? false;
  }

  private httpError(r: HttpResponse): Error {
    let e: Error$ | undefined;
    if (this.ours(r)) {
      try {
        e = this.engine.o.codec.decode(BatchReplySchema, r.body).error;
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
    if (retry.afterMs > 0) this.engine.notBefore = this.clock.mono() + retry.afterMs;
    return retry;
  }
}
