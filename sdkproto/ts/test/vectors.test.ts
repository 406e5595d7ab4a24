import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import {
  create,
  equals,
  fromBinary,
  fromJson,
  fromJsonString,
  type JsonValue,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { correctedTime } from "../src/core/clock.js";
import { StopDetector } from "../src/core/stops.js";
import { isObservation, validateItem } from "../src/core/validate.js";
import { Waiting } from "../src/core/waiting.js";
import {
  BatchSchema,
  file_footfall_sdk_v1_sdk,
  ItemSchema,
  type Message,
  MessageSchema,
} from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { vectorsDir } from "./where.js";

function load<T>(name: string): T[] {
  const v = JSON.parse(readFileSync(`${vectorsDir}/${name}`, "utf8")) as T[];
  assert.ok(v.length > 0, `${name} is empty`);
  return v;
}

// What concerns the server alone, by vectors/README.md.
const serverOnly = ["dedupe.json", "identity.json", "slots.json"];
const here = ["encoding.json", "clock.json", "items.json", "stops.json", "display.json"];
const elsewhere = ["transcripts", "actions.json", "blocked.json", "README.md"];

test("every file of vectors is known here", () => {
  const known = new Set([...serverOnly, ...here, ...elsewhere]);
  for (const name of readdirSync(vectorsDir)) {
    if (name.endsWith(".go")) continue; // what the Go runners share
    assert.ok(known.has(name), `${name}: run it here, or say that it concerns the server alone`);
  }
});

interface EncodingVector {
  name: string;
  type: string;
  decode_only?: boolean;
  json: JsonValue;
  pb: string;
}

test("encoding.json", async (t) => {
  const schemas = new Map(file_footfall_sdk_v1_sdk.messages.map((m) => [m.name, m]));
  for (const v of load<EncodingVector>("encoding.json")) {
    await t.test(v.name, () => {
      const schema = schemas.get(v.type);
      assert.ok(schema, `no message ${v.type}`);
      const byJson = fromJson(schema, v.json, { ignoreUnknownFields: true });
      const bytes = Buffer.from(v.pb, "hex");
      const byPb = fromBinary(schema, bytes, { readUnknownFields: false });
      if (!v.decode_only) assert.equal(Buffer.from(toBinary(schema, byJson)).toString("hex"), v.pb);
      // equals takes NaN for different from NaN; bytes do not.
      assert.deepEqual(toBinary(schema, byJson), toBinary(schema, byPb));
      const text = toJsonString(schema, byPb);
      assert.ok(!text.includes("\n"), "a line break inside a JSON frame");
      assert.deepEqual(toBinary(schema, fromJsonString(schema, text)), toBinary(schema, byPb));
      if (!text.includes("NaN")) assert.ok(equals(schema, byJson, byPb));
    });
  }
});

interface ItemVector {
  name: string;
  item: JsonValue;
  batch?: JsonValue;
  received_ms: number;
  at_ms?: number;
  how?: string;
  kind?: string;
  code?: string;
  field?: string;
}

function parse(v: ItemVector) {
  const item = fromJson(ItemSchema, v.item);
  return { item, batch: v.batch === undefined ? create(BatchSchema) : fromJson(BatchSchema, v.batch) };
}

test("clock.json", async (t) => {
  for (const v of load<ItemVector>("clock.json")) {
    await t.test(v.name, () => {
      const { item, batch } = parse(v);
      assert.deepEqual(correctedTime(item, batch, BigInt(v.received_ms)), { atMs: BigInt(v.at_ms ?? 0), how: v.how });
    });
  }
});

test("items.json", async (t) => {
  for (const v of load<ItemVector>("items.json")) {
    // Of iOS' native code alone: this SDK has no call that makes one.
    if (JSON.stringify(v.item).includes('"liveActivity"')) continue;
    await t.test(v.name, () => {
      const { item, batch } = parse(v);
      const got = validateItem(item);
      if (typeof got !== "string") {
        assert.deepEqual({ code: got.code, field: got.field }, { code: v.code, field: v.field ?? "" });
        assert.ok(got.reason);
        return;
      }
      // The server judges times besides, which no SDK does before it sends.
      const absurd = isObservation(got) && correctedTime(item, batch, BigInt(v.received_ms)).how === "absurd";
      if (absurd) assert.deepEqual([v.code, v.field], ["invalid", "occurred_ms"]);
      else assert.deepEqual([got, v.code], [v.kind, undefined]);
    });
  }
});

interface StopVector {
  name: string;
  stop_after_s: number;
  stop_radius_m: number;
  fixes: { at_ms: string; lat: number; lng: number; accuracy_m?: number }[];
  stopped: boolean[];
  since_ms: (string | null)[];
}

test("stops.json", async (t) => {
  for (const v of load<StopVector>("stops.json")) {
    await t.test(v.name, () => {
      const d = new StopDetector(v.stop_after_s, v.stop_radius_m);
      const got = v.fixes.map((f) => {
        d.take({ lat: f.lat, lng: f.lng, accuracyM: f.accuracy_m ?? 0, atMs: Number(f.at_ms) });
        return [d.stopped, d.sinceMs ?? null];
      });
      assert.deepEqual(
        got,
        v.stopped.map((s, i) => [s, v.since_ms[i] == null ? null : Number(v.since_ms[i])]),
      );
    });
  }
});

interface DisplayVector {
  name: string;
  now_ms: number;
  steps: {
    at_ms: number;
    inbox?: JsonValue[];
    keep?: JsonValue;
    foreground?: boolean;
    background?: boolean;
    event?: string;
    screen?: string;
    granted?: string;
    refused?: string;
    shown?: string;
    ended?: string;
    restart?: boolean;
    logout?: boolean;
    due: string | null;
    next_ms: number | null;
    left?: string[];
  }[];
}

test("display.json", async (t) => {
  const boot = 3_600_000; // a monotonic clock does not begin at 0
  for (const v of load<DisplayVector>("display.json")) {
    await t.test(v.name, () => {
      let w = new Waiting();
      let inbox: Message[] = [];
      for (const [n, s] of v.steps.entries()) {
        const now = v.now_ms + s.at_ms;
        const mono = boot + s.at_ms;
        if (s.inbox) {
          inbox = s.inbox.map((m) => fromJson(MessageSchema, m));
          w.sync(inbox, mono);
        } else if (s.keep !== undefined) w.keep(fromJson(MessageSchema, s.keep), now, mono);
        else if (s.foreground) w.foreground(mono);
        else if (s.background) w.background();
        else if (s.event) w.event(s.event, mono);
        else if (s.screen) w.shows(s.screen, mono);
        else if (s.granted) w.grant(s.granted);
        else if (s.refused) w.drop(s.refused);
        else if (s.shown) w.was(s.shown, now, mono);
        else if (s.ended) w.drop(s.ended);
        else if (s.logout) {
          w.forget();
          inbox = [];
        } else if (s.restart) {
          const kept = w.save(now);
          w = new Waiting();
          w.load(kept);
          w.sync(inbox, mono);
        }
        const due = w.due(now, mono);
        const got =
          typeof due === "object"
            ? { due: due.message.messageId, next_ms: null }
            : { due: null, next_ms: due === undefined ? null : due - boot };
        assert.deepEqual(got, { due: s.due, next_ms: s.next_ms }, `step ${n}`);
        if (s.left) assert.deepEqual(w.left.sort(), s.left, `step ${n}`);
      }
    });
  }
});
