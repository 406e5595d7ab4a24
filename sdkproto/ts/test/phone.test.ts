// Behaviour that no vector describes: what the phone asks of its ports, and when.
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { capacitor, type Handle } from "../src/adapters/capacitor.js";
import { FakeLifecycle, MemoryStorage } from "../src/adapters/testing.js";
import { protobuf as codec } from "../src/core/codec.js";
import { InvalidError } from "../src/core/errors.js";
import { BatchReplySchema, type Frame } from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { init } from "../src/index.js";
import { World } from "./world.js";

const here = { lat: 52.1, lng: 4.3, accuracyM: 10 };

test("nothing is sent that the store has not taken, and it is asked again", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  w.storage.fail = (call) => {
    if (call === "append") throw new Error("the disk is full");
  };
  const tracked = w.phone.track("one");
  await w.clock.advance(500);
  assert.deepEqual(await w.items(), []);
  assert.equal(w.phone.pending, 1);
  assert.deepEqual(w.trouble, ["keep items"]);
  w.storage.fail = undefined;
  await w.clock.advance(1000);
  await tracked;
  assert.deepEqual(
    (await w.items()).map((i) => [i.seq, i.event?.name]),
    [[1n, "one"]],
  );
  await w.phone.close();
});

test("a call with what the server would never take is refused at once", async () => {
  const w = new World();
  await w.open();
  const refused = (field: string) => (e: unknown) => e instanceof InvalidError && e.field === field;
  await assert.rejects(w.phone.track("x".repeat(101)), refused("event.name"));
  await assert.rejects(w.phone.track("x", { deep: [[[[[[[[[[[1]]]]]]]]]]] }), refused("event.properties_json"));
  await assert.rejects(w.phone.setPreferences({}), refused("preferences.topics"));
  await assert.rejects(w.phone.setPushToken({ provider: "fcm", token: "" }), refused("push_token.token"));
  // What types would find, from a caller without them: nothing turns into a yes, a dislike, another platform.
  const loose = w.phone as unknown as Record<string, (...a: unknown[]) => Promise<void>>;
  for (const [field, call, ...args] of [
    ["granted", "setConsent", "marketing", "false"],
    ["granted", "setConsent", "marketing"],
    ["consent.purpose", "setConsent", "advertising", true],
    ["preset", "startTracking", "turbo"],
    ["topics.tea", "setPreferences", { topics: { tea: "loves" } }],
    ["likes", "setPreferences", { likes: "tea" }],
    ["provider", "setPushToken", { provider: "toString", token: "t" }],
    ["location", "setPermissions", { location: "maybe" }],
    ["atMs", "reportFix", { lat: 1, lng: 1, accuracyM: 1 }],
  ] as const) {
    await assert.rejects(async () => loose[call]?.call(w.phone, ...args), refused(field), `${call} ${field}`);
  }
  assert.equal(w.phone.tracking, "off");
  assert.equal(w.phone.pending, 0);
  await w.phone.close();
});

test("init says what it misses where there is no browser", async () => {
  const missing = (field: string) => (e: unknown) => e instanceof InvalidError && e.field === field;
  const o = { endpoint: "http://server", appKey: "ak" };
  await assert.rejects(init(o), missing("ports.storage"));
  await assert.rejects(init({ ...o, ports: { storage: new MemoryStorage() } }), missing("ports.lifecycle"));
});

test("a store that somebody emptied gives no seq again that the server has seen", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  for (const name of ["one", "two", "three"]) await w.phone.track(name);
  assert.deepEqual(
    (await w.items()).map((i) => i.seq),
    [1n, 2n, 3n],
  );
  w.storage.items = [];
  w.storage.values.clear();
  w.storage.nextSeq = 1;
  await Promise.all([w.phone.track("four"), w.phone.track("five")]);
  await w.phone.track("six");
  assert.deepEqual(
    (await w.items()).map((i) => [i.seq, i.event?.name]),
    [
      [4n, "four"],
      [5n, "five"],
      [6n, "six"],
    ],
  );
  await w.clock.advance(0);
  assert.deepEqual(w.storage.items, []);
  await w.phone.close();
});

test("two pages that open at once for the first time are one install, with one token", async () => {
  const [a, b] = [new World(), new World()];
  b.storage = a.storage;
  await Promise.all([a.open({ installId: "" }), b.open({ installId: "" })]);
  const first = await a.greet({ newDeviceToken: "t-1" });
  await b.clock.advance(0);
  b.socket.events.open(codec.subprotocol);
  const [second] = b.sent();
  assert.equal(second?.hello?.installId, first.hello?.installId);
  // It has shown no token, and the install has one by now: the other page's.
  await b.down({ re: 1n, error: { code: 101, name: "device_token_invalid" } });
  await b.clock.advance(0);
  b.socket.events.open(codec.subprotocol);
  assert.equal(b.sent()[0]?.hello?.deviceToken, "t-1");
  await a.phone.close();
  await b.phone.close();
});

test("a full queue loses fixes, then events, and never what the person said", async () => {
  const w = new World();
  w.lifecycle = new FakeLifecycle(false);
  const dropped: string[] = [];
  await w.open({ maxQueue: 4, onDropped: (i) => dropped.push(i.event?.name ?? (i.location ? "fix" : "other")) });
  await w.phone.setConsent("marketing", true);
  await w.phone.track("one");
  await w.phone.reportFix({ ...here, atMs: w.clock.now() });
  await w.phone.track("two");
  await w.phone.track("three");
  await w.phone.logout();
  await w.phone.setConsent("profiling", true);
  await w.phone.setConsent("profiling", false);
  await w.phone.setPreferences({ likes: ["coffee"] });
  assert.deepEqual(dropped, ["fix", "one", "two", "three"]);
  assert.equal(w.phone.pending, 5);
  await w.phone.close();
});

test("a server that says nothing for its ping and 10 s is dead", async () => {
  const w = new World();
  await w.open();
  await w.greet({ pingMs: 25_000 });
  await w.clock.advance(25_000);
  const [ping] = w.sent();
  assert.ok(ping?.ping && ping.id > 0n, "no ping");
  await w.down({ re: ping.id, pong: {} });
  await w.clock.advance(34_000);
  assert.equal(w.phone.state, "open");
  await w.clock.advance(2_000);
  assert.equal(w.phone.state, "connecting");
  assert.equal(w.transport.sockets.length, 2);
  await w.phone.close();
});

test("reconnects wait for full jitter of a doubling bound, at most 300 s", async () => {
  const w = new World();
  w.clock.chance = 0.5;
  const waits: number[] = [];
  await w.open();
  for (let n = 0; n < 12; n++) {
    const sockets = w.transport.sockets.length;
    w.socket.events.close(1006, "");
    const from = w.clock.mono();
    while (w.transport.sockets.length === sockets) await w.clock.advance(250);
    waits.push((w.clock.mono() - from) / 1000);
  }
  assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150]);
  await w.phone.close();
});

test("a numbered frame is acknowledged within 5 s, by a ping where nothing else is said", async () => {
  const w = new World();
  await w.open();
  await w.greet({ epoch: "e-1" });
  await w.down({ seq: 1n, config: { etag: "c1" } });
  await w.clock.advance(4_000);
  assert.deepEqual(w.sent(), []);
  await w.clock.advance(1_000);
  const [ping] = w.sent();
  assert.deepEqual([ping?.ping !== undefined, ping?.downAck], [true, 1n]);
  await w.down({ seq: 2n, config: { etag: "c2" } });
  await w.phone.track("one");
  await w.clock.advance(0);
  const [batch] = w.sent();
  assert.deepEqual([batch?.batch !== undefined, batch?.downAck], [true, 2n]);
  await w.phone.close();
});

test("circles are registered bubble first, refusals told, events posted from the background", async () => {
  const w = new World();
  await w.open();
  await w.phone.startTracking("responsive");
  await w.greet();
  w.geofence.refuse = { r2: "full" };
  const circle = { lat: here.lat, lng: here.lng, radiusM: 100, onEnter: true };
  await w.down({
    regions: {
      etag: "g1",
      regions: [
        { id: "r1", ...circle },
        { id: "r2", ...circle },
      ],
      bubble: { id: "~bubble", ...circle },
    },
  });
  await w.clock.advance(0);
  assert.deepEqual(
    w.geofence.circles.map((c) => [c.id, c.onEnter, c.onExit]),
    [
      ["~bubble", false, true],
      ["r1", true, false],
    ],
  );
  const [ack] = w.sent().filter((f) => f.regionsAck);
  assert.deepEqual(ack?.regionsAck?.installed, ["~bubble", "r1"]);
  assert.equal(ack?.regionsAck?.failed[0]?.osCode, "full");

  // A place that is smaller than its circle: the first fix is outside, so another is taken.
  w.lifecycle.set(false);
  await w.items();
  await w.clock.advance(0);
  const inside = { ...here, atMs: w.clock.now() };
  w.location.next = [{ ...inside, lat: here.lat + 1 }, inside];
  w.geofence.report({ id: "r1", transition: "enter" });
  await w.clock.advance(0);
  const post = w.transport.requests.at(-1);
  assert.ok(post, "nothing is posted");
  assert.ok(post.url.endsWith("/install"), "no token yet: it registers first");
  const answer = (r: MessageInitShape<typeof BatchReplySchema>) =>
    codec.encode(BatchReplySchema, create(BatchReplySchema, r));
  post.answer(200, answer({ helloOk: { newDeviceToken: "tok-1" } }), { "content-type": codec.contentType });
  await w.clock.advance(0);
  const batch = w.transport.requests.at(-1);
  assert.ok(batch, "nothing is posted");
  assert.ok(batch.url.endsWith("/batch") && batch.headers.Authorization === "Bearer tok-1");
  batch.answer(200, answer({ ack: {}, regions: { etag: "g2" } }), { "content-type": codec.contentType });
  await w.clock.advance(0);
  assert.deepEqual(w.geofence.circles, []);
  await w.phone.stopTracking();
  await w.phone.close();
});

test("positions are asked for as the preset says, thinned, and gathered for its sync interval", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  await w.phone.startTracking("continuous");
  assert.equal(w.location.asked?.intervalMs, 30_000);
  const fix = (north: number) => w.location.fix({ ...here, lat: here.lat + north / 111_195, atMs: w.clock.now() });
  fix(0);
  await w.clock.advance(5_000);
  fix(100); // sooner than was asked for
  await w.clock.advance(10_000);
  assert.deepEqual(await w.items(), [], "it waits for company");
  await w.clock.advance(5_000);
  assert.equal((await w.items()).length, 1);
  // The server wants less.
  await w.down({ config: { etag: "c1", tracking: 2 } });
  assert.equal(w.phone.tracking, "efficient");
  assert.equal(w.location.asked?.intervalMs, 1_200_000);
  await w.phone.stopTracking();
  assert.equal(w.location.asked, undefined);
  await w.phone.close();
});

test("a phone that stands asks for no position, until a circle tells that it moves", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  await w.phone.startTracking("responsive");
  for (let i = 0; i < 2; i++) {
    w.location.fix({ ...here, atMs: w.clock.now() });
    await w.clock.advance(150_000);
  }
  assert.equal(w.location.asked?.intervalMs, 0);
  w.geofence.report({ id: "~bubble", transition: "exit" });
  await w.clock.advance(0);
  assert.equal(w.location.asked?.intervalMs, 150_000);
  await w.phone.close();
});

test("one in-app message at a time, none in a checkout, a gap between two", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  const shown: { id: string; dismiss(): void }[] = [];
  const offer = async (messageId: string) => {
    await w.down({ message: { messageId, kind: 1 } });
    const [claim] = w.sent().filter((f) => f.claim);
    if (claim) await w.down({ re: claim.id, grant: { messageId, granted: true } });
    return claim !== undefined;
  };
  assert.equal(await offer("m0"), false, "nobody shows messages");
  w.phone.onMessage((m) => shown.push(m));
  await w.down({ config: { etag: "c1", inAppGapMs: 60_000 } });
  assert.equal(await offer("m1"), true);
  assert.equal(await offer("m2"), false, "m1 is on the screen");
  shown[0]?.dismiss();
  assert.equal(await offer("m3"), false, "too soon");
  await w.clock.advance(20_000);
  await w.down({ pong: {} });
  await w.clock.advance(20_000);
  await w.down({ pong: {} });
  await w.clock.advance(20_000);
  w.sent();
  w.phone.pauseInApp();
  assert.equal(await offer("m4"), false, "a checkout");
  w.phone.resumeInApp();
  assert.equal(await offer("m1"), false, "shown before");
  assert.equal(await offer("m5"), true);
  assert.deepEqual(
    shown.map((m) => m.id),
    ["m1", "m5"],
  );
  await w.phone.close();
});

test("after a logout nothing is shown of the person before, and nothing sent before its ack", async () => {
  const w = new World();
  const shown: string[] = [];
  await w.open();
  w.phone.onMessage((m) => shown.push(m.id));
  await w.greet();
  const offer = async (messageId: string) => {
    await w.down({ message: { messageId, kind: 1, title: "t" } });
    return w.sent().find((f) => f.claim);
  };
  const claim = await offer("claimed-before");
  assert.ok(claim);
  await w.phone.logout();
  await w.phone.identify("bob", { hmac: "ab" });
  await w.down({ re: claim.id, grant: { messageId: "claimed-before", granted: true } });
  await w.clock.advance(0);
  const kinds = (f: Frame | undefined) =>
    f?.batch?.items.map((i) => (i.logout ? "logout" : i.identify ? "identify" : "?"));
  const [first, ...more] = w.sent().filter((f) => f.batch);
  assert.deepEqual(kinds(first), ["logout"]);
  assert.equal(more.length, 0);
  assert.equal(await offer("before-the-ack"), undefined);
  assert.deepEqual(shown, []);
  assert.ok(first);
  await w.down({ re: first.id, ack: {} });
  await w.clock.advance(0);
  const [second] = w.sent().filter((f) => f.batch);
  assert.deepEqual(kinds(second), ["identify"]);
  assert.ok(await offer("of-bob"), "the next person's is not claimed");
  await w.phone.close();
});

test("a push of a message that was shown already is not shown", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  assert.equal(await w.phone.pushReceived({ messageId: "m1", via: "fcm" }), true);
  assert.equal(await w.phone.pushReceived({ messageId: "m1", via: "fcm" }), false);
  w.push.push({ messageId: "m1", via: "fcm", opened: true });
  w.push.token({ provider: "fcm", token: "t-1" });
  const items = await w.items();
  assert.deepEqual(
    items.map((i) => i.receipt?.state ?? i.pushToken?.token),
    [1, 2, "t-1", 3],
  );
  await w.phone.close();
});

test("a proof that is refused is asked for anew, three times at most", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  const asked: string[] = [];
  w.phone.onIdentityNeeded((userId) => {
    asked.push(userId);
    return { jwt: `proof-${asked.length}` };
  });
  await w.phone.identify("ada", { hmac: "00" });
  for (let n = 0; n < 6; n++) {
    await w.clock.advance(0);
    for (const f of w.sent()) {
      const seq = f.batch?.items[0]?.seq;
      if (seq) await w.down({ re: f.id, ack: { rejects: [{ seq, code: "identity_expired" }] } });
    }
  }
  assert.deepEqual(asked, ["ada", "ada", "ada"]);
  assert.equal(w.phone.pending, 0);
  await w.phone.close();
});

test("what is read and removed in the inbox stays so, whatever the server still says", async () => {
  const w = new World();
  await w.open();
  await w.greet();
  const heard: string[][] = [];
  w.phone.inbox.onChange((all) => heard.push(all.map((m) => `${m.id}${m.read ? " read" : ""}`)));
  const messages = ["m1", "m2"].map((messageId) => ({ messageId, kind: 2 as const }));
  await w.down({ inbox: { full: true, messages, cursor: "k1" } });
  await w.phone.inbox.markRead("m1");
  await w.phone.inbox.dismiss("m2");
  await w.down({ inbox: { full: true, messages, cursor: "k2" } });
  assert.deepEqual(heard, [["m2", "m1"], ["m2", "m1 read"], ["m1 read"], ["m1 read"]]);
  const items = await w.items();
  assert.deepEqual(
    items.map((i) => `${i.receipt?.messageId} ${i.receipt?.state}`),
    ["m1 1", "m2 1", "m1 2", "m2 5"],
  );
  await w.phone.close();
});

test("the ports of Capacitor: plugins are listened to, only our circles are touched", async () => {
  const listeners = new Map<string, (x: never) => void>();
  let removed = 0;
  const addListener = async (event: string, heard: (x: never) => void): Promise<Handle> => {
    listeners.set(event, heard);
    return {
      remove: async () => {
        removed++;
      },
    };
  };
  const regions = new Map<string, unknown>([["host-own", 1]]);
  const ports = capacitor(
    {
      App: { addListener },
      PushNotifications: { addListener: addListener as never },
      BackgroundGeolocation: {
        addListener,
        addGeofence: async (o) => {
          if (o.identifier.endsWith("r2")) throw Object.assign(new Error("no"), { code: "LIMIT" });
          regions.set(o.identifier, o);
        },
        removeGeofence: async ({ identifier }) => void regions.delete(identifier),
        getMonitoredGeofences: async () => ({ regions: [...regions.keys()] }),
      },
    },
    "ios",
  );
  const circle = { lat: 1, lng: 2, radiusM: 100, onEnter: true, onExit: false, dwellS: 0 };
  await ports.geofence?.set([{ id: "old", ...circle }]);
  assert.deepEqual(
    await ports.geofence?.set([
      { id: "r1", ...circle },
      { id: "r2", ...circle },
    ]),
    [{ id: "r2", osCode: "LIMIT" }],
  );
  assert.deepEqual([...regions.keys()], ["host-own", "footfall:r1"]);

  const heard: unknown[] = [];
  const ends = [
    ports.geofence?.onEvent((e) => heard.push(e)),
    ports.push?.onToken((t) => heard.push(t)),
    ports.push?.onPush((p) => heard.push(p)),
    ports.lifecycle?.onChange((f) => heard.push(f)),
  ];
  const say = (event: string, x: unknown) => listeners.get(event)?.(x as never);
  say("geofenceTransition", { identifier: "footfall:r1", transition: "enter" });
  say("geofenceTransition", { identifier: "host-own", transition: "enter" });
  say("registration", { value: "t-1" });
  say("pushNotificationReceived", { data: { message_id: "m1" } });
  say("pushNotificationReceived", { data: { other: 1 } });
  say("pushNotificationActionPerformed", { notification: { data: { message_id: "m1" } } });
  say("appStateChange", { isActive: true });
  say("appStateChange", { isActive: false });
  assert.deepEqual(heard, [
    { id: "r1", transition: "enter" },
    { provider: "apns", token: "t-1" },
    { messageId: "m1", via: "apns", opened: false },
    { messageId: "m1", via: "apns", opened: true },
    false,
  ]);
  for (const end of ends) end?.();
  await new Promise((r) => setImmediate(r));
  assert.equal(removed, 5);
});
