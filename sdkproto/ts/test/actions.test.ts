// What the SDK does about each error, close code, status and reject: actions.json.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { FakeClock, FakeLifecycle, FakeTransport, MemoryStorage } from "../src/adapters/testing.js";
import { protobuf as codec } from "../src/core/codec.js";
import { Footfall } from "../src/core/footfall.js";
import { BatchReplySchema, type Frame, FrameSchema } from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { vectorsDir } from "./where.js";

interface Action {
  name: string;
  during: "hello" | "batch" | "session" | "post" | "handshake";
  comes: {
    error?: JsonValue;
    close?: number;
    cut?: boolean;
    status?: number;
    retry_after_s?: number;
    content_type?: string;
    text?: string;
    reply?: JsonValue;
    reject?: { code: string; retryable?: boolean };
    retry_after_ms?: number;
  };
  action: string;
  items: "kept" | "dropped";
  then: "open" | "reconnect" | "stopped" | "later";
  token: "kept" | "forgotten";
  delay_min_ms?: number;
}

for (const v of JSON.parse(readFileSync(`${vectorsDir}/actions.json`, "utf8")) as Action[]) {
  test(`action: ${v.name}`, async (t) => {
    const clock = new FakeClock();
    const storage = new MemoryStorage();
    storage.values.set("token", new TextEncoder().encode("tok-1"));
    const transport = new FakeTransport();
    const lifecycle = new FakeLifecycle(false);
    const rejected: string[] = [];
    let asked = 0;
    const phone = await Footfall.open({
      endpoint: "http://server",
      appKey: "ak",
      platform: "android",
      installId: "phone-00001",
      backoffMinMs: 1,
      backoffMaxMs: 1,
      ports: { storage, clock, transport, lifecycle },
      onRejected: (r) => rejected.push(r.code),
    });
    t.after(() => phone.close());
    phone.onIdentityNeeded(() => {
      asked++;
      return undefined;
    });
    const socket = () => transport.sockets.at(-1);
    const down = (f: JsonValue) => socket()?.events.message(codec.join([codec.frame(fromJson(FrameSchema, f))]));
    /** Frames that the phone sent since it was asked last. */
    const sent = (): Frame[] =>
      socket()
        ?.sent.splice(0)
        .flatMap((m) => codec.frames(m).frames) ?? [];
    const batches = () => sent().filter((f) => f.batch !== undefined);

    const item = () => (v.action === "ask_host" ? phone.identify("ada", { hmac: "00" }) : phone.track("one"));
    let re = 0n;
    if (v.during === "post") {
      await item();
      phone.wake().catch(() => undefined);
    } else {
      if (v.during !== "session") await item();
      lifecycle.set(true);
      await clock.advance(1);
      if (v.during !== "handshake") {
        socket()?.events.open(codec.subprotocol);
        await clock.advance(0);
        re = sent().find((f) => f.hello)?.id ?? 0n;
        assert.ok(re > 0n, "no hello");
      }
      if (v.during === "batch" || v.during === "session") {
        down({ re: String(re), helloOk: { session: "s-1" } });
        await clock.advance(0);
        re = v.during === "batch" ? (batches()[0]?.id ?? 0n) : 0n;
        if (v.during === "batch") assert.ok(re > 0n, "no batch");
      }
    }
    await clock.advance(0);
    const socketsBefore = transport.sockets.length;
    const from = clock.mono();

    const { comes } = v;
    if (v.during === "post") {
      const request = transport.requests[0];
      assert.ok(request, "no POST");
      const reply = comes.error !== undefined ? { error: comes.error } : comes.reply;
      const headers: Record<string, string> = {};
      if (comes.retry_after_s) headers["retry-after"] = String(comes.retry_after_s);
      if (comes.content_type) headers["content-type"] = comes.content_type;
      let body = new TextEncoder().encode(comes.text ?? "");
      if (reply !== undefined) {
        headers["content-type"] = codec.contentType;
        body = new Uint8Array(codec.encode(BatchReplySchema, fromJson(BatchReplySchema, reply)));
      }
      request.answer(comes.status ?? 200, body, headers);
    } else if (v.during === "handshake") {
      socket()?.events.close(1006, ""); // a page is not told the status
    } else {
      if (comes.error !== undefined) down({ re: String(re), error: comes.error });
      if (comes.reject) {
        const ack = { rejects: [{ seq: "1", ...comes.reject }], retryAfterMs: comes.retry_after_ms ?? 0 };
        down({ re: String(re), ack });
      }
      if (comes.close) socket()?.events.close(comes.close, "");
      if (comes.cut) socket()?.events.close(1006, "");
    }
    await clock.advance(0);

    if (v.during !== "session") {
      assert.equal(phone.pending, v.items === "kept" ? 1 : 0, "items");
      assert.equal(rejected.length, v.items === "kept" ? 0 : 1, "rejected");
    }
    assert.equal(asked, v.action === "ask_host" ? 1 : 0, "the host is asked");

    // A page does not see what a refused handshake says.
    const least = v.during === "handshake" ? 0 : (v.delay_min_ms ?? 0);
    const happened = async (what: () => boolean) => {
      for (let ms = 0; ms < 70_000 && !what(); ms += 5) await clock.advance(5);
      assert.ok(what(), `it does not ${v.then}`);
      assert.ok(clock.mono() - from >= least, `after ${clock.mono() - from} ms, not before ${least}`);
    };
    switch (v.then) {
      case "stopped":
        await clock.advance(60_000);
        assert.equal(phone.state, "stopped");
        assert.equal(transport.sockets.length, socketsBefore);
        break;
      case "reconnect":
        if (v.during === "post") {
          // It registers anew, and posts again.
          await happened(() => transport.requests.length > 1);
          assert.ok(transport.requests[1]?.url.endsWith("/install"));
          break;
        }
        await happened(() => transport.sockets.length > socketsBefore);
        break;
      case "later": {
        await happened(() => {
          phone.wake().catch(() => undefined);
          return transport.requests.length > 1;
        });
        break;
      }
      case "open": {
        if (v.during === "session") await item();
        let again = 0;
        if (v.items === "kept") {
          await happened(() => {
            again += batches().length;
            return again > 0;
          });
        } else await clock.advance(100);
        assert.equal(phone.state, "open");
        assert.equal(transport.sockets.length, socketsBefore);
      }
    }
    const token = new TextDecoder().decode(storage.values.get("token"));
    assert.equal(token, v.token === "kept" ? "tok-1" : "", "token");
  });
}
