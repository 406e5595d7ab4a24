// Runs the golden transcripts: the test is the server. vectors/README.md has the format.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { type DescMessage, fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  FakeClock,
  FakeLifecycle,
  type FakeRequest,
  type FakeSocket,
  FakeTransport,
  MemoryStorage,
} from "../src/adapters/testing.js";
import { type Codec, protobuf } from "../src/core/codec.js";
import type { Engine } from "../src/core/engine.js";
import { Footfall } from "../src/core/footfall.js";
import { PRESETS } from "../src/core/tracking.js";
import {
  BatchReplySchema,
  BatchSchema,
  FrameSchema,
  HelloSchema,
  ItemSchema,
  TokenRefreshSchema,
  Tracking_PresetSchema,
} from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { json } from "../src/json.js";
import { vectorsDir } from "./where.js";

type Obj = Record<string, unknown>;
type Pattern = unknown;

interface Expect {
  pending?: number;
  token?: string;
  shown?: string[];
  inbox?: string[];
  cursor?: string;
  state?: string;
  rejected?: string[];
  tracking?: string;
}

interface Step {
  app?: string | Obj;
  server?: Obj | string;
  open?: boolean;
  cut?: boolean;
  up?: Obj;
  down?: Obj;
  close?: { by: "phone" | "server" | "either"; code: number };
  request?: { method: string; path: string; headers?: Record<string, string>; body?: Obj };
  answer?: "lost" | { status: number; headers?: Record<string, string>; body?: Obj };
  quiet_ms?: number;
  unordered?: Step[];
  expect?: Expect;
  expect_server?: Obj;
  lost?: boolean;
  only?: "client" | "server";
  conn?: number;
  note?: string;
}

const stepKeys = new Set(
  "app server open cut up down close request answer quiet_ms unordered expect expect_server lost only conn note".split(
    " ",
  ),
);
const givenKeys = new Set(["registered", "caps", "consents", "credit"]);
const expectKeys = new Set(["pending", "token", "shown", "inbox", "cursor", "state", "rejected", "tracking"]);

interface Transcript {
  name: string;
  only?: "client" | "server";
  given: { registered?: boolean | string } & Obj;
  vars?: Obj;
  steps: Step[];
}

/** The variables of a run; as sdkproto/vectors/transcript.go. */
class Script {
  bound: Obj = {};
  private made = 0;
  constructor(private readonly vars: Obj) {}

  value(name: string): unknown {
    if (!(name in this.bound)) this.bound[name] = this.vars[name] ?? String(++this.made);
    return this.bound[name];
  }
  text(p: string): string {
    return p.replace(/\$[a-z0-9]+/g, (v) => String(this.value(v.slice(1))));
  }
  /** What a sender says for a pattern: without what is null or "*". */
  fill(p: Pattern): unknown {
    if (typeof p === "string") {
      if (p === "*") return undefined;
      return /^\$[a-z0-9]+$/.test(p) ? this.value(p.slice(1)) : this.text(p);
    }
    if (Array.isArray(p)) return p.map((v) => this.fill(v));
    if (p === null || typeof p !== "object") return p ?? undefined;
    return Object.fromEntries(
      Object.entries(p)
        .map(([k, v]) => [k, this.fill(v)] as const)
        .filter(([, v]) => v !== undefined),
    );
  }
  /** What is wrong with what came; undefined when it fits, and then variables are bound. */
  match(p: Pattern, actual: unknown): string | undefined {
    return this.attempt("", p, actual);
  }
  private attempt(path: string, p: Pattern, actual: unknown): string | undefined {
    const before = { ...this.bound };
    const wrong = this.compare(path, p, actual);
    if (wrong !== undefined) this.bound = before;
    return wrong;
  }
  private compare(path: string, p: Pattern, a: unknown): string | undefined {
    const wrong = `${path} is ${JSON.stringify(a)}, want ${JSON.stringify(p)}`;
    if (p === null) return empty(a) ? undefined : wrong;
    if (typeof p === "string") {
      if (p === "*") return undefined;
      if (/^\$[a-z0-9]+$/.test(p)) {
        const name = p.slice(1);
        if (!(name in this.bound) || path === ".id" || path === ".helloOk.session") {
          if (empty(a)) return `${path} is absent`;
          this.bound[name] = a;
          return undefined;
        }
        return String(this.bound[name]) === String(a) ? undefined : `${wrong} = ${this.bound[name]}`;
      }
      return (a ?? "") === this.text(p) ? undefined : wrong;
    }
    if (Array.isArray(p)) return this.list(path, p, Array.isArray(a) ? a : []);
    if (typeof p === "object") {
      if (typeof a !== "object" || a === null) return wrong;
      for (const [k, v] of Object.entries(p)) {
        const bad = this.compare(`${path}.${k}`, v, (a as Obj)[k]);
        if (bad !== undefined) return bad;
      }
      return undefined;
    }
    return p === a || (a === undefined && empty(p)) ? undefined : wrong;
  }
  private list(path: string, p: Pattern[], a: unknown[]): string | undefined {
    if (path.endsWith(".caps")) {
      const lacks = p.find((v) => !a.includes(v));
      return lacks === undefined ? undefined : `${path} lacks ${String(lacks)}`;
    }
    if (path.endsWith("items")) {
      let rest = [...a];
      for (const item of p) {
        while (rest.length > 0 && this.attempt(path, item, rest[0]) !== undefined && extra(rest[0]))
          rest = rest.slice(1);
        const bad = rest.length === 0 ? `${path} lacks ${JSON.stringify(item)}` : this.compare(path, item, rest[0]);
        if (bad !== undefined) return bad;
        rest = rest.slice(1);
      }
      const more = rest.find((i) => !extra(i));
      return more === undefined ? undefined : `${path} has ${JSON.stringify(more)} too`;
    }
    if (a.length !== p.length) return `${path} has ${a.length}, want ${p.length}: ${JSON.stringify(a)}`;
    for (const [i, v] of p.entries()) {
      const bad = this.compare(`${path}[${i}]`, v, a[i]);
      if (bad !== undefined) return bad;
    }
    return undefined;
  }
}

function empty(v: unknown): boolean {
  return v === undefined || v === null || v === "" || v === 0 || v === false || (Array.isArray(v) && v.length === 0);
}

function extra(item: unknown): boolean {
  const i = item as { lifecycle?: unknown; permissions?: unknown; pushToken?: unknown; receipt?: { state?: string } };
  return Boolean(i.lifecycle ?? i.permissions ?? i.pushToken) || i.receipt?.state === "STATE_DELIVERED";
}

const ignorable = new Set(["id", "re", "downAck", "ping", "pong", "regionsAck"]);

/** A phone of the SDK, and the server that the transcript is. */
class Run {
  readonly clock = new FakeClock();
  readonly storage = new MemoryStorage();
  transport = new FakeTransport();
  lifecycle = new FakeLifecycle(false);
  phone!: Footfall;
  shown: string[] = [];
  rejected: string[] = [];
  socket: FakeSocket | undefined;
  private socketsTaken = 0;
  private requestsTaken = 0;
  request: FakeRequest | undefined;
  private inbound: Obj[] = [];
  /** The frames that the transcript has next. */
  private wanted: Obj[] = [];

  constructor(
    readonly script: Script,
    readonly codec: Codec,
  ) {}

  async start(): Promise<void> {
    this.transport = new FakeTransport();
    this.socketsTaken = this.requestsTaken = 0;
    this.socket = undefined;
    this.lifecycle = new FakeLifecycle(false);
    this.phone = await Footfall.open({
      endpoint: "http://server",
      appKey: String(this.script.value("app")),
      platform: "android",
      codec: this.codec,
      backoffMinMs: 1,
      backoffMaxMs: 1,
      ports: { storage: this.storage, clock: this.clock, transport: this.transport, lifecycle: this.lifecycle },
      onRejected: (r) => this.rejected.push(r.code),
    });
    this.phone.onMessage((m) => this.shown.push(m.id));
  }

  /** Lets the phone work until the condition holds; 5 s of its time at most. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let ms = 0; ms < 5000; ms += 5) {
      this.gather();
      if (holds()) return;
      await this.clock.advance(5);
    }
    assert.fail(`in 5 s: ${what}; frames that came: ${JSON.stringify(this.inbound)}`);
  }

  /** Takes what the phone has sent, and answers what no transcript describes. */
  gather(): void {
    const s = this.socket;
    if (!s) return;
    for (const data of s.sent.splice(0)) {
      const { frames, error } = this.codec.frames(data);
      assert.equal(error, undefined);
      for (const f of frames) {
        const frame = toJson(FrameSchema, f) as Obj;
        if (frame.ping !== undefined) this.down({ re: frame.id, pong: {} });
        if (Object.keys(frame).every((k) => ignorable.has(k))) continue;
        const items = (frame.batch as { items?: unknown[] } | undefined)?.items ?? [];
        const described = this.wanted.some((p) => new Script(this.script.bound).match(p, frame) === undefined);
        if (items.length > 0 && items.every(extra) && !described) this.down({ re: frame.id, ack: {} });
        else this.inbound.push(frame);
      }
    }
  }

  down(frame: Obj): void {
    const f = fromJson(FrameSchema, frame as JsonValue);
    assert.ok(this.socket, "a frame without a socket");
    this.socket.events.message(this.codec.join([this.codec.frame(f)]));
  }

  async up(patterns: Obj[]): Promise<void> {
    const left = [...patterns];
    this.wanted = left;
    while (left.length > 0) {
      await this.until(`no ${JSON.stringify(left)}`, () => this.inbound.length > 0);
      const frame = this.inbound.shift();
      const wrongs = left.map((p) => this.script.match(p, frame));
      const i = wrongs.indexOf(undefined);
      assert.notEqual(i, -1, `${wrongs.join("; or ")}: ${JSON.stringify(frame)}`);
      left.splice(i, 1);
    }
    this.wanted = [];
  }

  async step(step: Step): Promise<void> {
    for (const k of Object.keys(step)) assert.ok(stepKeys.has(k), `a step of ${k} is not known`);
    if (step.only === "server" || (step.conn ?? 1) !== 1) return;
    await this.clock.advance(0); // what came before has been taken
    if (step.app !== undefined) await this.app(step.app);
    if (step.open) {
      await this.until("the phone opens no socket", () => this.transport.sockets.length > this.socketsTaken);
      assert.deepEqual(this.inbound, [], "frames that the transcript does not have");
      this.socket = this.transport.sockets[this.socketsTaken++];
      this.socket?.events.open(this.socket.subprotocol);
    }
    if (step.up) await this.up([step.up]);
    if (step.down) {
      const frame = this.script.fill(step.down) as Obj;
      if (!step.lost) this.down(frame);
    }
    if (step.unordered) {
      for (const s of step.unordered) if (s.down) await this.step(s);
      await this.up(step.unordered.flatMap((s) => (s.up ? [s.up] : [])));
    }
    if (step.cut) this.socket?.events.close(1006, "");
    if (step.close) {
      const { by, code } = step.close;
      if (by === "phone") await this.until("the phone does not close", () => this.socket?.closed !== undefined);
      if (by === "phone") assert.equal(this.socket?.closed?.code, code);
      else this.socket?.events.close(code, "");
    }
    if (step.request) await this.asked(step.request);
    if (step.answer) this.answer(step.answer);
    if (step.quiet_ms !== undefined) {
      await this.clock.advance(step.quiet_ms);
      this.gather();
      assert.deepEqual(this.inbound, [], "it is not quiet");
      assert.equal(this.transport.requests.length, this.requestsTaken, "a request in the quiet");
    }
    if (step.expect) await this.expect(step.expect);
  }

  private async app(what: string | Obj): Promise<void> {
    const { phone } = this;
    if (typeof what === "string") {
      switch (what) {
        case "foreground":
          return this.lifecycle.set(true);
        case "background":
          return this.lifecycle.set(false);
        case "wake":
          phone.wake().catch(() => undefined); // the transcript says what it brings
          return;
        case "restart":
          await phone.close();
          return this.start();
        case "stop_tracking":
          return phone.stopTracking();
        case "refresh_token":
          phone.refreshToken().catch(() => undefined);
          return;
        default:
          assert.fail(`the app cannot ${what}`);
      }
    }
    if (typeof what.start_tracking === "string") {
      const wanted = Tracking_PresetSchema.values.find((v) => v.name === what.start_tracking)?.number;
      const preset = (Object.keys(PRESETS) as (keyof typeof PRESETS)[]).find((p) => PRESETS[p] === wanted);
      assert.ok(preset);
      return phone.startTracking(preset);
    }
    const body = this.script.fill(what.item);
    assert.ok(body, `the app cannot ${JSON.stringify(what)}`);
    const item = fromJson(ItemSchema, body as JsonValue);
    if (item.event)
      return phone.track(
        item.event.name,
        item.event.propertiesJson ? JSON.parse(item.event.propertiesJson) : undefined,
      );
    if (item.identify) {
      const { userId, hmac, jwt } = item.identify;
      return phone.identify(userId, jwt ? { jwt } : { hmac });
    }
    if (item.logout) return phone.logout();
    // What has no other call: a region's event, a fix, an answer as it is.
    return (phone as unknown as { enqueue(i: typeof item): Promise<void> }).enqueue(item);
  }

  private async asked(r: NonNullable<Step["request"]>): Promise<void> {
    await this.until(`no ${r.method} ${r.path}`, () => this.transport.requests.length > this.requestsTaken);
    this.request = this.transport.requests[this.requestsTaken++];
    const got = this.request;
    assert.ok(got);
    const url = new URL(got.url);
    assert.equal(got.method, r.method);
    assert.equal(this.script.match(r.path, url.pathname + url.search), undefined, `${url.pathname}${url.search}`);
    assert.equal(this.script.match(r.headers ?? {}, got.headers), undefined, JSON.stringify(got.headers));
    if (!r.body) return;
    const schemas: Record<string, DescMessage> = {
      "/sdk/v1/batch": BatchSchema,
      "/sdk/v1/install": HelloSchema,
      "/sdk/v1/token": TokenRefreshSchema,
    };
    const schema = schemas[url.pathname];
    assert.ok(schema && got.body);
    const body = toJson(schema, this.codec.decode(schema, got.body));
    const wrong = this.script.match(r.body, body);
    assert.equal(wrong, undefined, `${wrong}: ${JSON.stringify(body)}`);
  }

  private answer(a: NonNullable<Step["answer"]>): void {
    assert.ok(this.request, "an answer without a request");
    if (a === "lost") {
      this.request.fail();
      return;
    }
    const headers = Object.fromEntries(
      Object.entries(a.headers ?? {}).map(([k, v]) => [k.toLowerCase(), this.script.text(v)]),
    );
    if (!a.body) {
      this.request.answer(a.status, new Uint8Array(), headers);
      return;
    }
    const reply = fromJson(BatchReplySchema, this.script.fill(a.body) as JsonValue);
    const body = this.codec.encode(BatchReplySchema, reply);
    this.request.answer(a.status, body, { "content-type": this.codec.contentType, ...headers });
  }

  /** What waits, without what no transcript describes. */
  private pending(): number {
    const { queue } = (this.phone as unknown as { engine: Engine }).engine;
    const others = queue.entries.filter((e) => extra(toJson(ItemSchema, e.item)));
    return queue.length - others.length;
  }

  private async expect(e: Expect): Promise<void> {
    for (const k of Object.keys(e)) assert.ok(expectKeys.has(k), `an expectation of ${k} is not known`);
    const state = (): Expect => {
      const presetNumber = PRESETS[this.phone.tracking];
      const all: Required<Expect> = {
        pending: this.pending(),
        token: new TextDecoder().decode(this.storage.values.get("token")).split("\n")[0] ?? "",
        shown: this.shown,
        inbox: this.phone.inbox
          .list()
          .map((m) => m.id)
          .sort(),
        cursor: (this.phone.inbox as unknown as { cursor: string }).cursor,
        state: this.phone.state,
        rejected: this.rejected,
        tracking: Tracking_PresetSchema.values.find((v) => v.number === presetNumber)?.name ?? "",
      };
      return Object.fromEntries(Object.entries(all).filter(([k]) => k in e)) as Expect;
    };
    const want = this.script.fill(e) as Expect;
    if (want.inbox) want.inbox = [...want.inbox].sort();
    const same = () => JSON.stringify(sorted(state())) === JSON.stringify(sorted(want));
    for (let ms = 0; ms < 5000 && !same(); ms += 5) {
      await this.clock.advance(5);
      this.gather();
    }
    assert.deepEqual(state(), want);
  }
}

function sorted(o: object): unknown {
  return Object.entries(o).sort(([a], [b]) => (a < b ? -1 : 1));
}

const dir = `${vectorsDir}/transcripts`;
const names = readdirSync(dir).filter((n) => n.endsWith(".json"));

test("there are transcripts", () => assert.ok(names.length > 20));

for (const codec of [protobuf, json]) {
  for (const name of names) {
    const t = JSON.parse(readFileSync(`${dir}/${name}`, "utf8")) as Transcript;
    if (t.only === "server") continue;
    test(`transcript ${name} ${codec.subprotocol}: ${t.name}`, async () => {
      for (const k of Object.keys(t.given)) assert.ok(givenKeys.has(k), `given ${k} is not known`);
      const run = new Run(new Script(t.vars ?? {}), codec);
      run.storage.values.set("install", new TextEncoder().encode(String(run.script.value("install"))));
      if (t.given.registered)
        run.storage.values.set("token", new TextEncoder().encode(String(run.script.value("token"))));
      await run.start();
      for (const [i, step] of t.steps.entries()) {
        try {
          await run.step(step);
        } catch (e) {
          if (e instanceof Error) e.message = `step ${i + 1}: ${e.message}`;
          throw e;
        }
      }
      await run.phone.close();
      assert.equal(run.clock.waiting, 0, "a closed SDK leaves timers");
    });
  }
}
