import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Item, ItemSchema, Lifecycle_State, type Reject, RejectSchema } from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { ClockPort, StoragePort, StoredItem } from "../ports.js";
import { MAX_BATCH_ITEMS, MAX_QUEUE_BYTES, PAUSE_WITHOUT_MS } from "./protocol.js";

/** An item that waits. */
export interface Entry {
  seq: number;
  item: Item;
  /** As protobuf, bytes. */
  size: number;
  attempts: number;
  /** Sent on the session of now, and not yet answered. */
  socket: boolean;
  /** In the POST that is under way. */
  post: boolean;
  /** Acknowledged, refused or dropped. */
  gone: boolean;
  /** It may wait for company until then, by the monotonic clock; 0 means that it may not. */
  due: number;
}

/** The two ways to the server. An item may be on both: the server takes it once. */
export type Lane = "socket" | "post";

/** What an answer changed. */
export interface Settled {
  acked: Item[];
  refused: { item: Item; reject: Reject }[];
  /** Some are to be sent again. */
  again: boolean;
}

/** What a full queue may lose. */
const droppable = {
  sight: (i: Item) => i.location !== undefined || (i.beacon !== undefined && !i.beacon.lost),
  event: (i: Item) => i.event !== undefined,
};

interface Draft {
  item: Item;
  due: number;
  kept: (seq: number) => void;
}

/**
 * The items that wait, in the order of their seq. An item is sent only after the store has
 * taken it: until then it is a draft, and has no seq.
 */
export class Queue {
  entries: Entry[] = [];
  /** One more than the highest seq known to be given out. */
  next = 1;
  /**
   * How many items a batch may have while one that was refused as a whole is searched for
   * its bad item; 0 means no search.
   */
  most = 0;
  /** The newest lifecycle item says background. */
  away = false;
  private batches = 0;
  /** Of the entries, as protobuf. */
  private bytes = 0;
  private drafts: Draft[] = [];
  private saving: Promise<void> | undefined;
  private retry: unknown;
  private closed = false;

  constructor(
    private readonly storage: StoragePort,
    private readonly clock: ClockPort,
    private readonly limit: number,
    private readonly events: {
      /** There is something new to send. */
      grown(): void;
      dropped(item: Item): void;
      /** The store failed; it is asked again. */
      trouble(what: string, e: unknown): void;
    },
  ) {}

  load(items: readonly StoredItem[], next: number): void {
    this.next = Math.max(next, 1);
    this.reset();
    for (const s of items) this.hear(this.push(s, fromBinary(ItemSchema, s.body), 0).item);
  }

  private reset(): void {
    this.entries = [];
    this.bytes = 0;
  }

  /** How many are neither acknowledged nor refused. */
  get length(): number {
    return this.entries.length + this.drafts.length + this.savingCount;
  }

  private savingCount = 0;

  /** Takes an item; resolves with its seq once it is durable. */
  add(item: Item, lingerMs: number): Promise<number> {
    this.hear(item);
    while (this.length >= this.limit || this.bytes > MAX_QUEUE_BYTES) {
      if (!this.spill()) break;
    }
    const due = lingerMs > 0 ? this.clock.mono() + lingerMs : 0;
    return new Promise((kept) => {
      this.drafts.push({ item, due, kept });
      this.save();
    });
  }

  /** Resolves when no draft is left that the store would take now. */
  async settledDown(): Promise<void> {
    while (this.saving) await this.saving;
  }

  private hear(item: Item): void {
    if (item.lifecycle) this.away = item.lifecycle.state === Lifecycle_State.BACKGROUND;
  }

  private push(s: StoredItem, item: Item, due: number): Entry {
    item.seq = BigInt(s.seq);
    if (item.itemId === "") item.itemId = String(s.seq);
    const e = { seq: s.seq, item, size: s.body.length + 16, attempts: 0, socket: false, post: false, gone: false, due };
    this.entries.push(e);
    this.bytes += e.size;
    this.next = Math.max(this.next, s.seq + 1);
    return e;
  }

  /** While the store takes some drafts, what comes meanwhile waits and goes together. */
  private save(): void {
    if (this.saving || this.closed) return;
    this.saving = this.saveAll().finally(() => {
      this.saving = undefined;
      if (this.drafts.length > 0 && this.retry === undefined) this.save();
    });
  }

  private async saveAll(): Promise<void> {
    this.clock.clearTimeout(this.retry);
    this.retry = undefined;
    while (this.drafts.length > 0 && !this.closed) {
      const some = this.drafts.splice(0);
      this.savingCount = some.length;
      const bodies = some.map((d) => toBinary(ItemSchema, d.item));
      try {
        const seqs = await this.keep(bodies);
        some.forEach((d, i) => {
          const seq = seqs[i] ?? 0;
          this.push({ seq, body: bodies[i] ?? new Uint8Array() }, d.item, d.due);
          d.kept(seq);
        });
      } catch (e) {
        this.drafts.unshift(...some);
        this.events.trouble("keep items", e);
        if (!this.closed) {
          this.retry = this.clock.setTimeout(() => {
            this.retry = undefined;
            this.save();
          }, PAUSE_WITHOUT_MS);
        }
        return;
      } finally {
        this.savingCount = 0;
      }
      this.events.grown();
    }
  }

  /**
   * Appends, and gives the seqs. Somebody may have emptied the store meanwhile (the person,
   * by the browser's settings): it then counts from 1 again, and the server would take what
   * has these seqs for repeats. It goes in again, above what was given out before.
   */
  private async keep(bodies: readonly Uint8Array[]): Promise<number[]> {
    const seqs = await this.storage.append(bodies);
    if ((seqs[0] ?? this.next) >= this.next) return seqs;
    await this.storage.remove(seqs);
    await this.storage.renumber(this.next - 1);
    return this.storage.append(bodies);
  }

  /**
   * Drops the oldest fix or beacon heard, else the oldest event, if there is one that is
   * not on its way: never a receipt, a region's event or what the person said.
   */
  private spill(): boolean {
    for (const may of [droppable.sight, droppable.event]) {
      const e = this.entries.find((e) => !e.socket && !e.post && !e.gone && may(e.item));
      if (e) {
        this.drop([e]);
        return true;
      }
      const i = this.drafts.findIndex((d) => may(d.item));
      const [d] = i < 0 ? [] : this.drafts.splice(i, 1);
      if (d) {
        this.events.dropped(d.item);
        d.kept(0);
        return true;
      }
    }
    return false;
  }

  /** Drops what may be dropped and is older: positions, beacons heard and events. */
  trim(ms: number): void {
    const since = BigInt(Math.round(this.clock.now() - ms));
    this.drop(
      this.entries.filter(
        (e) =>
          !e.socket && !e.post && e.item.occurredMs < since && (droppable.sight(e.item) || droppable.event(e.item)),
      ),
    );
  }

  private drop(es: readonly Entry[]): void {
    if (es.length === 0) return;
    for (const e of es) e.gone = true;
    this.forget(es.map((e) => e.seq));
    for (const e of es) this.events.dropped(e.item);
  }

  /**
   * The oldest unacknowledged items that are not on this way, at most n and about size
   * bytes; they count as on it from then on. Those on the other way go again, so that no
   * item overtakes an earlier one whose way breaks. What follows a logout waits for its
   * ack: were the logout kept later than it, it would be the earlier person's.
   */
  take(n: number, size: number, lane: Lane): Entry[] {
    if (this.most > 0) n = Math.min(n, this.most);
    const out: Entry[] = [];
    for (const e of this.entries) {
      if (out.length >= n) break;
      if (e.gone) continue;
      if (!e[lane]) {
        size -= e.size + 4;
        if (size < 0 && out.length > 0) break;
        e[lane] = true;
        out.push(e);
      }
      if (e.item.logout) break;
    }
    return out;
  }

  /** When the next batch should leave on the socket: now (0), at a time by the monotonic clock, or never. */
  due(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const e of this.entries) {
      if (e.gone) continue;
      if (!e.socket) {
        if (e.due === 0) return 0;
        at = Math.min(at, e.due);
      }
      if (e.item.logout) break;
    }
    return at <= this.clock.mono() ? 0 : at;
  }

  /** Nothing may wait for company any more. */
  hurry(): void {
    for (const e of this.entries) e.due = 0;
    for (const d of this.drafts) d.due = 0;
  }

  batchId(): string {
    return `${this.next}.${++this.batches}`;
  }

  /** Gives back what was not answered. */
  land(es: readonly Entry[], lane: Lane): void {
    for (const e of es) e[lane] = false;
  }

  /** Applies an ack to the batch that it answers, and forgets what is done. */
  settle(es: readonly Entry[], rejects: readonly Reject[], lane: Lane): Settled {
    const bad = new Map(rejects.map((r) => [Number(r.seq), r]));
    const s: Settled = { acked: [], refused: [], again: false };
    const gone: number[] = [];
    for (const e of es) {
      e[lane] = false;
      if (e.gone) continue;
      const reject = bad.get(e.seq);
      if (reject?.retryable) {
        s.again = true;
        continue;
      }
      e.gone = true;
      gone.push(e.seq);
      if (reject) s.refused.push({ item: e.item, reject });
      else s.acked.push(e.item);
    }
    if (this.most > 0 && s.acked.length > 0) {
      this.most *= 2;
      if (this.most >= MAX_BATCH_ITEMS) this.most = 0;
    }
    if (gone.length > 0) this.forget(gone);
    return s;
  }

  /**
   * Answers a batch that was refused as a whole: the next ones have half its size; a batch
   * of one is refused for good.
   */
  bisect(all: readonly Entry[], code: "invalid" | "too_large", reason: string, lane: Lane): Settled {
    this.land(all, lane);
    const es = all.filter((e) => !e.gone); // the other way may have brought some
    const only = es[0];
    if (only && es.length === 1) {
      const reject = create(RejectSchema, { itemId: only.item.itemId, seq: only.item.seq, code, reason });
      return this.settle(es, [reject], lane);
    }
    if (es.length > 1) this.most = es.length >> 1;
    return { acked: [], refused: [], again: es.length > 1 };
  }

  private forget(seqs: number[]): void {
    const left = this.entries.filter((e) => !e.gone);
    this.reset();
    for (const e of left) this.bytes += e.size;
    this.entries = left;
    // Where this fails they are sent again after a restart, and taken for repeats.
    this.storage.remove(seqs).catch((e: unknown) => this.events.trouble("forget items", e));
  }

  /**
   * Gives all that waits a seq above a number, unless the store has given out a higher one:
   * the server knows a higher one than we do, so under ours it would take them for
   * repeats. What is on its way under an old number is sent again under the new one.
   * Rejects when the store does.
   */
  async renumber(above: number): Promise<void> {
    await this.settledDown();
    const items = await this.storage.renumber(above);
    this.next = Math.max(this.next, above + 1);
    this.reset();
    for (const s of items) this.push(s, fromBinary(ItemSchema, s.body), 0);
    if (this.drafts.length > 0) this.save();
  }

  /** Nothing is kept any more; drafts that the store has not taken are lost. */
  close(): void {
    this.closed = true;
    this.clock.clearTimeout(this.retry);
  }
}
