// A phone that is cut off at random moments 1,000 times while it sends 10,000 items, with
// socket and POST racing and an identify in the middle, against the real server: every
// item takes effect exactly once, in its order.
import assert from "node:assert/strict";
import { test } from "node:test";
import "fake-indexeddb/auto";
import { IndexedDBStorage } from "../src/adapters/idb.js";
import { FakeLifecycle } from "../src/adapters/testing.js";
import { WebClock } from "../src/adapters/web.js";
import { Footfall } from "../src/core/footfall.js";
import { flaky, nodeTransport, type Server, serve } from "./server.js";

const ITEMS = Number(process.env.FOOTFALL_TEST_ITEMS ?? 10_000);
const CUTS = Number(process.env.FOOTFALL_TEST_CUTS ?? 1_000);
const SEED = Number(process.env.FOOTFALL_TEST_SEED ?? 7);

interface Entry {
  kind: string;
  data: { event?: string; properties?: { i?: number }; identifier?: string };
}

/** What the server says that happened to the person, oldest first. */
async function timeline(s: Server, person: string): Promise<Entry[]> {
  const all: Entry[] = [];
  for (let cursor = ""; ; ) {
    const page = await s.api<{ items: Entry[]; next?: string }>(
      "GET",
      `/api/v1/people/${person}/timeline?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`,
    );
    all.push(...page.items);
    if (!page.next) return all.reverse();
    cursor = page.next;
  }
}

/** Waits until it holds; the bound is that of the test. */
async function until(holds: () => boolean | Promise<boolean>, everyMs = 20): Promise<void> {
  while (!(await holds())) await new Promise((r) => setTimeout(r, everyMs));
}

test(`a phone that is cut off ${CUTS} times loses nothing and doubles nothing`, { timeout: 120_000 }, async (t) => {
  const s = await serve();
  t.after(() => s.stop());
  const net = await flaky(s.host, CUTS, SEED);
  let cutAll = false;
  net.done.then(
    () => {
      cutAll = true;
    },
    () => undefined,
  );
  t.after(() => net.stop());

  let ended = 0;
  let dropped = 0;
  const rejected: string[] = [];
  const trouble: unknown[] = [];
  const acked = new Map<number, number>();
  const open = (storage: string) =>
    Footfall.open({
      endpoint: net.url,
      appKey: s.appKey,
      platform: "web",
      installId: "phone-of-ada",
      backoffMinMs: 1,
      backoffMaxMs: 5,
      ports: {
        storage: new IndexedDBStorage(storage),
        clock: new WebClock(),
        transport: nodeTransport(),
        lifecycle: new FakeLifecycle(true),
      },
      // Each connection that ended is a cut, or nearly each.
      onState: (state) => {
        if (state === "waiting") ended++;
      },
      onDropped: () => dropped++,
      onRejected: (r) => rejected.push(`${r.kind} ${r.seq} ${r.code}`),
      onTrouble: (what, e) => trouble.push([what, e]),
      onAcked: (i) => acked.set(Number(i.seq), (acked.get(Number(i.seq)) ?? 0) + 1),
    });
  let phone = await open("phone");

  const posting = { on: true, posts: 0, failed: 0 };
  const racing = (async () => {
    while (posting.on) {
      posting.posts++;
      await (phone as unknown as { engine: { post(): Promise<void> } }).engine.post().catch(() => posting.failed++);
      await new Promise((r) => setTimeout(r, 3));
    }
  })();

  await phone.setConsent("profiling", true);
  for (let i = 1; i <= ITEMS; i++) {
    await phone.track(`e${i}`, { i });
    if (i === ITEMS / 2) await phone.identify("ada", { hmac: s.hmac("ada") });
    // The app is killed now and then: what it was told stays on its disk.
    if (i % (ITEMS / 4) === 0) {
      await phone.close();
      phone = await open("phone");
    }
    // The items are spread over all the cuts.
    const due = () => cutAll || (ended + posting.failed) * (ITEMS / CUTS) >= i - 200;
    if (!due()) await until(due, 1);
  }
  // What the client has not noticed: connections that were cut when they had nothing to say.
  for (let i = ITEMS; !cutAll; i++) {
    await phone.setPreferences({ likes: [`topic-${i % 50}`] });
    await new Promise((r) => setTimeout(r, 2));
  }
  await until(() => phone.pending === 0);
  posting.on = false;
  await racing;
  await phone.close();

  // decide works behind the ack: the last item shows that it is through.
  let happened: Entry[] = [];
  await until(async () => {
    happened = await timeline(s, "install:phone-of-ada");
    return happened.some((e) => e.data.event === `e${ITEMS}`);
  }, 200);
  const events = happened.filter((e) => e.kind === "trigger");
  assert.deepEqual(
    events.map((e) => e.data.properties?.i),
    Array.from({ length: ITEMS }, (_, i) => i + 1),
  );
  const bound = happened.filter((e) => e.kind === "absorb");
  assert.deepEqual(
    bound.map((e) => e.data.identifier),
    ["user_id:ada"],
  );
  assert.deepEqual(rejected, []);
  assert.equal(dropped, 0);
  assert.deepEqual(trouble, []);
  t.diagnostic(`${ended} sessions ended, ${posting.posts} POSTs raced the socket, ${posting.failed} of them failed`);
  // Each was acknowledged; one whose removal the app's end overtook was so twice.
  assert.ok(acked.size > ITEMS);
});
