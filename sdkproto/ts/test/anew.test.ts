// A phone whose token is lost for good: README of the protocol, "A lost token".
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage } from "../src/adapters/testing.js";
import { installIdOf } from "../src/core/anew.js";
import { protobuf as codec } from "../src/core/codec.js";
import type { Hello } from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { World } from "./world.js";

const text = (b: Uint8Array | undefined) => new TextDecoder().decode(b);
const bytes = (s: string) => new TextEncoder().encode(s);

/** Answers the next hello with 101, and says what it was. */
async function refuse(w: World): Promise<Hello> {
  await w.clock.advance(0);
  w.socket.events.open(codec.subprotocol);
  const hello = w.sent()[0]?.hello;
  assert.ok(hello);
  await w.down({ error: { code: 101, name: "token_invalid" } });
  return hello;
}

test("an id that no server has accepted yet is kept, and a host's own id too", async () => {
  const w = new World();
  const first = w.storage;
  await w.open({ installId: "" });
  const lost = (await refuse(w)).installId;
  await w.phone.close();
  assert.notEqual(text(first.values.get("next")), "");

  await w.open({ installId: "" });
  const fresh = await refuse(w);
  assert.equal(fresh.formerInstall, lost);
  assert.notEqual(fresh.installId, lost);
  await w.phone.close();
  await w.open({ installId: "" });
  const again = await w.greet({ newDeviceToken: "t-1" });
  assert.equal(again.hello?.installId, fresh.installId);
  assert.equal(again.hello?.formerInstall, lost);
  assert.equal(first.values.has("former"), false, "it has a token");
  await w.phone.close();

  w.storage = new MemoryStorage();
  await w.open({ installId: "of-the-host" });
  await refuse(w);
  await w.phone.close();
  assert.equal(w.storage.values.has("next"), false);
});

test("a start that is killed while it begins anew is done again, whatever it had kept", async () => {
  const { clock } = new World();
  for (let writes = 0; ; writes++) {
    const s = new MemoryStorage();
    for (const [k, v] of [
      ["install", "phone-00001"],
      ["next", "phone-00002"],
      ["token", "tok-1"],
      ["inbox", "of-ada"],
      ["shown", "m-1"],
    ] as const) {
      s.values.set(k, bytes(v));
    }
    const { set } = s;
    let left = writes;
    s.set = (k, v) => (left-- > 0 ? set.call(s, k, v) : Promise.reject(new Error("killed")));
    const whole = await installIdOf(s, new Map(s.values), clock).then(
      () => true,
      () => false,
    );
    s.set = set;
    const values = new Map(s.values);
    assert.equal(await installIdOf(s, values, clock), "phone-00002");
    assert.deepEqual(values, s.values);
    assert.deepEqual(
      [...s.values].map(([k, v]) => `${k} ${text(v)}`).sort(),
      ["former phone-00001", "install phone-00002", "shown m-1"],
      `killed after ${writes} writes`,
    );
    if (whole) {
      assert.ok(writes >= 6);
      return;
    }
  }
});
