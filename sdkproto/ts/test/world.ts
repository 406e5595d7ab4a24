// A phone in the hands of a test.
import assert from "node:assert/strict";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  FakeClock,
  FakeGeofence,
  FakeLifecycle,
  FakeLocation,
  FakePush,
  FakeTransport,
  MemoryStorage,
} from "../src/adapters/testing.js";
import { protobuf as codec } from "../src/core/codec.js";
import { Footfall, type Options } from "../src/core/footfall.js";
import { type Frame, FrameSchema, type Item } from "../src/gen/footfall/sdk/v1/sdk_pb.js";

export class World {
  clock = new FakeClock();
  storage = new MemoryStorage();
  transport = new FakeTransport();
  lifecycle = new FakeLifecycle(true);
  location = new FakeLocation();
  geofence = new FakeGeofence();
  push = new FakePush();
  phone!: Footfall;
  trouble: string[] = [];

  async open(o: Partial<Options> = {}): Promise<void> {
    const { storage, clock, transport, lifecycle, location, geofence, push } = this;
    this.phone = await Footfall.open({
      endpoint: "http://server",
      appKey: "ak",
      platform: "android",
      installId: "phone-00001",
      ports: { storage, clock, transport, lifecycle, location, geofence, push },
      onTrouble: (what) => this.trouble.push(what),
      ...o,
    });
  }
  get socket() {
    const s = this.transport.sockets.at(-1);
    assert.ok(s, "no socket");
    return s;
  }
  /** Opens a session. */
  async greet(ok: NonNullable<MessageInitShape<typeof FrameSchema>["helloOk"]> = {}): Promise<Frame> {
    await this.clock.advance(0);
    this.socket.events.open(codec.subprotocol);
    const [hello] = this.sent();
    assert.ok(hello?.hello);
    await this.down({ re: hello.id, helloOk: { session: "s-1", ...ok } });
    return hello;
  }
  async down(f: MessageInitShape<typeof FrameSchema>): Promise<void> {
    this.socket.events.message(codec.frame(create(FrameSchema, f)));
    await this.clock.advance(0);
  }
  sent(): Frame[] {
    return this.socket.sent.splice(0).flatMap((m) => codec.frames(m).frames);
  }
  /** Acknowledges what came, and says what it was. */
  async items(): Promise<Item[]> {
    await this.clock.advance(0);
    const batches = this.sent().filter((f) => f.batch);
    for (const f of batches) await this.down({ re: f.id, ack: {} });
    return batches.flatMap((f) => f.batch?.items ?? []);
  }
}
