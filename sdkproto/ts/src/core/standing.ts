import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Hello,
  type HelloOk,
  HelloSchema,
  Lifecycle_State,
  type NewToken,
  type Permissions,
  type PushTarget,
  type Resume,
  ResumeSchema,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { Ports } from "../ports.js";
import { FORMER } from "./anew.js";
import type { EngineOptions } from "./engine.js";
import * as P from "./protocol.js";
import type { Queue } from "./queue.js";

/** What hello says that other parts know. */
export interface Known {
  permissions?: Permissions;
  pushTarget?: PushTarget;
  regionsEtag: string;
  configEtag: string;
  inboxCursor: string;
}

/** Keys of the values that the store keeps for the engine. */
const TOKEN = "token";
const RESUME = "resume";

const text = new TextEncoder();

/**
 * How this install stands with the server, whichever way they speak: the device token, the
 * point where a session goes on, the clock; what a hello says and what its answer brings.
 */
export class Standing {
  known: Known = { regionsEtag: "", configEtag: "", inboxCursor: "" };
  /** The server's clock minus ours, ms, as last heard. */
  skewMs = 0;
  /** The token in use, and the one before it until the new one has been taken. */
  token = "";
  private tokenBefore = "";
  /** The install in whose place this one is, until it has a token. */
  private former = "";
  /** The token in use is one that was to be replaced: another is asked for once a session is open. */
  refreshDue = false;
  resume: Resume = create(ResumeSchema);

  constructor(
    private readonly o: EngineOptions,
    private readonly ports: Ports,
    private readonly queue: Queue,
    private readonly trouble: (what: string, e: unknown) => void,
  ) {}

  /** Takes what the store holds. Called once, before anything else. */
  load(values: Map<string, Uint8Array>): void {
    this.readToken(values.get(TOKEN));
    const former = new TextDecoder().decode(values.get(FORMER));
    if (former !== this.o.installId) this.former = former; // a host may come back to it
    const resume = values.get(RESUME);
    if (resume) this.resume = fromBinary(ResumeSchema, resume);
  }

  private readToken(kept: Uint8Array | undefined): void {
    const [token = "", before = ""] = kept ? new TextDecoder().decode(kept).split("\n") : [];
    this.token = token;
    this.tokenBefore = before;
  }

  /**
   * The token was refused. Whether there is something else to try with: the one before a
   * new one that was never taken ("before"), or no token at all ("none").
   */
  async forgetToken(): Promise<"before" | "none" | undefined> {
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
      this.trouble("forget device token", e);
      return "none";
    }
  }

  /** Whether a refusal now means that the token is lost; an id that nobody has accepted yet stays. */
  get mayLose(): boolean {
    return this.token === "" && this.former === "";
  }

  hello(state: Lifecycle_State): Hello {
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
      formerInstall: this.token === "" ? this.former : "",
    });
    if (known.permissions) h.permissions = known.permissions;
    if (known.pushTarget) h.pushTarget = known.pushTarget;
    if (this.resume.epoch !== "" && state === Lifecycle_State.FOREGROUND) h.resume = this.resume;
    return h;
  }

  /** Takes what hello_ok says for longer than a session. Rejects when the store does. */
  async welcome(ok: HelloOk, shown: string): Promise<void> {
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
    if (token !== "" && this.former !== "") {
      this.former = "";
      await this.ports.storage.set(FORMER, undefined);
    }
  }

  /** A new token is kept beside the one in use, which is good until the new one is shown. */
  async takeToken(t: NewToken | undefined): Promise<void> {
    if (t && t.deviceToken !== "" && t.deviceToken !== this.token) await this.keepToken(t.deviceToken, this.token);
  }

  /** The server took the token that was shown: the one before is dead. */
  async tokenTaken(shown: string): Promise<void> {
    if (this.tokenBefore !== "" && this.token === shown) await this.keepToken(shown);
  }

  async keepResume(r: Resume): Promise<void> {
    this.resume = r;
    await this.ports.storage.set(RESUME, toBinary(ResumeSchema, r));
  }

  hearClock(serverMs: bigint): void {
    if (serverMs !== 0n) this.skewMs = Number(serverMs) - this.ports.clock.now();
  }
}
