// Messages that wait for their moment, from the socket to the screen; their rules alone are
// in vectors/display.json.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { InAppMessage } from "../src/core/messages.js";
import { Message_Kind, type MessageSchema, Receipt_State } from "../src/gen/footfall/sdk/v1/sdk_pb.js";
import { World } from "./world.js";

type Init = Extract<MessageInitShape<typeof MessageSchema>, { $typeName?: never }>;

/** A message that waits for an event; a second on the screen, and it goes by itself. */
const held = (messageId: string, event: string, times = 1, more: Init = {}): Init => ({
  messageId,
  kind: Message_Kind.IN_APP,
  trigger: { event },
  frequency: { times },
  display: { dismissAfterMs: 1000 },
  ...more,
});

/** A phone whose host notes what it shows. */
class Showing extends World {
  shown: InAppMessage[] = [];
  receipts: string[] = [];

  async begin(inbox: Init[]): Promise<void> {
    await this.open();
    this.phone.onMessage((m) => this.shown.push(m));
    await this.greet();
    await this.inbox(inbox);
  }
  async inbox(messages: Init[]): Promise<void> {
    await this.down({ inbox: { full: true, cursor: "c", messages } });
  }
  /** Takes what the phone sent: its claims; receipts are acknowledged and noted. */
  async claims(): Promise<{ id: bigint; messageId: string }[]> {
    await this.clock.advance(0);
    const sent = this.sent();
    for (const f of sent) {
      for (const { receipt } of f.batch?.items ?? []) {
        if (receipt) this.receipts.push(`${receipt.messageId} ${Receipt_State[receipt.state]} ${receipt.via}`);
      }
      if (f.batch) await this.down({ re: f.id, ack: {} });
    }
    return sent.flatMap((f) => (f.claim ? [{ id: f.id, messageId: f.claim.messageId }] : []));
  }
  /** What happens asks for this one; it is granted, or refused. */
  async claimed(messageId: string, granted = true): Promise<void> {
    const claims = await this.claims();
    assert.deepEqual(
      claims.map((c) => c.messageId),
      [messageId],
    );
    await this.down({ re: claims[0]?.id ?? 0n, grant: { messageId, granted, reason: granted ? "" : "late" } });
  }
  async unclaimed(why: string): Promise<void> {
    assert.deepEqual(await this.claims(), [], why);
  }
  /** The app leaves the foreground, and comes back. */
  async again(): Promise<void> {
    this.lifecycle.set(false);
    await this.unclaimed("it is in the background"); // that it says so is acknowledged
    await this.clock.advance(0);
    this.socket.events.close(1000, "");
    this.lifecycle.set(true);
    await this.greet();
  }
  get ids(): string {
    return this.shown.map((m) => m.id).join(" ");
  }
}

test("a message that waits is claimed at its moment, shown as often as it may be, and stands in no inbox", async () => {
  const w = new Showing();
  const checkout = held("n", "", 1, { trigger: { screen: "checkout", delayMs: 5000 } });
  await w.begin([held("m", "cart", 2), checkout, { messageId: "card", kind: Message_Kind.INBOX }]);
  assert.deepEqual(
    w.phone.inbox.list().map((m) => m.id),
    ["card"],
  );
  await w.phone.track("other");
  w.phone.showScreen("home");
  await w.unclaimed("its moment has not come");
  await w.phone.track("cart");
  await w.claimed("m");
  assert.equal(w.ids, "m");
  await w.phone.track("cart");
  w.phone.showScreen("checkout");
  await w.unclaimed("m is on the screen");
  assert.equal(w.ids, "m");
  await w.clock.advance(1000);
  await w.unclaimed("m is shown again, without a claim");
  assert.equal(w.ids, "m m");
  w.phone.pauseInApp();
  await w.clock.advance(5000);
  w.phone.resumeInApp();
  await w.claimed("n", false);
  w.phone.showScreen("checkout");
  await w.clock.advance(5000);
  await w.phone.track("cart");
  await w.unclaimed("n was refused, m was shown twice");
  assert.equal(w.ids, "m m");
  assert.deepEqual(
    w.receipts.filter((r) => !r.includes("DELIVERED")),
    ["m DISPLAYED in_app"],
  );
  await w.phone.close();
});

test("what waits outlives a restart, with its grant and its count", async () => {
  const w = new Showing();
  await w.begin([held("m", "cart", 3), held("gone", "cart")]);
  await w.phone.track("cart");
  await w.claimed("gone");
  w.shown[0]?.dismiss();
  await w.claimed("m");
  await w.phone.close();
  for (const want of ["gone m m", "gone m m m", "gone m m m"]) {
    await w.open();
    w.phone.onMessage((m) => w.shown.push(m));
    await w.greet();
    await w.phone.track("cart");
    await w.unclaimed("it was granted before the restart");
    assert.equal(w.ids, want);
    await w.phone.close();
  }
});

test("it waits for the session, for quiet and for the gap, and not beyond the foreground", async () => {
  const w = new Showing();
  await w.begin([held("a", "cart"), held("b", "cart")]);
  await w.down({ config: { etag: "c1", inAppGapMs: 10_000 } });
  w.phone.pauseInApp();
  await w.phone.track("cart");
  await w.unclaimed("a checkout");
  w.phone.resumeInApp();
  const [lost] = await w.claims();
  assert.equal(lost?.messageId, "a");
  w.socket.events.close(1006, "");
  await w.clock.advance(2000);
  await w.greet();
  await w.claimed("a");
  w.shown[0]?.dismiss();
  await w.clock.advance(9_999);
  await w.unclaimed("too soon");
  await w.clock.advance(1);
  const [claim] = await w.claims();
  assert.equal(claim?.messageId, "b");
  await w.down({ re: claim?.id ?? 0n, error: { code: 100, name: "internal" } });
  await w.unclaimed("an error is no refusal, and nothing to ask again at once");
  await w.clock.advance(10_000);
  assert.equal((await w.claims())[0]?.messageId, "b");
  await w.again();
  await w.unclaimed("another session: the event must come again");
  await w.phone.track("cart");
  await w.claimed("b");
  assert.equal(w.ids, "a b");
  await w.phone.close();
});

test("who acts upon it, reads its card or leaves is not shown it again", async () => {
  const w = new Showing();
  const card = held("card", "order", 1, {
    kind: Message_Kind.INBOX,
    display: { actions: [{ id: "x", label: "X" }] },
  });
  await w.begin([held("a", "cart", 9), card, held("b", "leave", 9)]);
  await w.phone.track("cart");
  await w.claimed("a");
  w.shown[0]?.action("go");
  await w.phone.track("cart");
  await w.unclaimed("a was acted upon");
  assert.deepEqual(
    w.phone.inbox.list().map((m) => [m.id, m.buttons]),
    [["card", [{ id: "x", label: "X", deepLink: "" }]]],
  );
  await w.phone.inbox.markRead("card");
  await w.phone.track("order");
  await w.unclaimed("the card was read");
  await w.phone.logout();
  await w.phone.track("leave");
  await w.unclaimed("they were another's");
  assert.equal(w.ids, "a");
  await w.phone.close();
});

test("an offered message that may come again is kept", async () => {
  const w = new Showing();
  await w.begin([]);
  await w.down({
    message: { messageId: "m", kind: Message_Kind.IN_APP, frequency: { times: 2, minGapMs: 60_000 } },
  });
  await w.claimed("m");
  assert.equal(w.ids, "m");
  await w.again();
  for (let s = 0; s < 60; s += 20) {
    await w.clock.advance(20_000);
    await w.down({ pong: {} });
  }
  assert.equal(w.ids, "m m");
  await w.phone.close();
});

test("pinned cards stand above the others", async () => {
  const w = new Showing();
  const mail = (messageId: string, pinned = false): Init => ({ messageId, pinned, kind: Message_Kind.INBOX });
  await w.begin([mail("a"), mail("b", true), mail("c", true), mail("d")]);
  assert.deepEqual(
    w.phone.inbox.list().map((m) => (m.pinned ? `${m.id}!` : m.id)),
    ["c!", "b!", "d", "a"],
  );
  await w.phone.close();
});
