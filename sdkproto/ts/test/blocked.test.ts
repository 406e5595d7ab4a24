// What the SDK keeps while the server has its app blocked: blocked.json.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { FakeLifecycle } from "../src/adapters/testing.js";
import { protobuf as codec } from "../src/core/codec.js";
import type { Engine } from "../src/core/engine.js";
import { ItemSchema } from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { vectorsDir } from "./where.js";
import { World } from "./world.js";

interface Blocked {
  name: string;
  steps: {
    blocked?: true;
    taken?: true;
    advance_ms?: number;
    item?: JsonValue;
    age_ms?: number;
    left?: string[];
  }[];
}

for (const v of JSON.parse(readFileSync(`${vectorsDir}/blocked.json`, "utf8")) as Blocked[]) {
  test(`blocked: ${v.name}`, async () => {
    const w = new World();
    w.lifecycle = new FakeLifecycle(false); // no lifecycle items beside those of the vector
    let dropped = 0;
    let made = 0;
    await w.open({ onDropped: () => dropped++ });
    const { engine } = w.phone as unknown as { engine: Engine };
    for (const [n, x] of v.steps.entries()) {
      if (x.advance_ms) await w.clock.advance(x.advance_ms);
      if (x.item) {
        const item = fromJson(ItemSchema, x.item);
        item.occurredMs = BigInt(w.clock.now() - (x.age_ms ?? 0));
        await engine.enqueue(item);
        made++;
      }
      if (x.blocked) {
        engine.start();
        await w.clock.advance(0);
        w.socket.events.open(codec.subprotocol);
        await w.down({ error: { code: 103, name: "app_disabled" } });
        w.socket.events.close(4505, "app_disabled");
        await w.clock.advance(0);
        assert.equal(w.phone.state, "stopped");
      }
      if (x.taken) {
        engine.start();
        await w.greet();
        assert.equal(w.phone.state, "open");
        await engine.stop("background", undefined);
      }
      if (!x.left) continue;
      await w.clock.advance(0);
      assert.deepEqual(
        w.storage.items.map((i) => String(i.seq)),
        x.left,
        `step ${n + 1}`,
      );
      assert.equal(w.phone.pending, x.left.length);
      assert.equal(dropped, made - x.left.length);
    }
    await w.phone.close();
    assert.equal(w.clock.waiting, 0, "a closed SDK leaves timers");
  });
}
