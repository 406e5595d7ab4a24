import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { InboxSchema, type Message } from "../gen/footfall/sdk/v1/sdk_pb.js";

/** A message that waits. */
interface Entry {
  message: Message;
  shown: number;
  /** When it was shown last, by the server's clock. */
  lastMs: number;
  /** To this phone. */
  granted: boolean;
  /** It is not to be shown any more, though the inbox may still have it. */
  done: boolean;
  /** It was shown in this session. */
  session: boolean;
  /** Its moment has come: it is ready from then on, by the monotonic clock. */
  readyAt: number | undefined;
}

type Kept = Pick<Entry, "shown" | "lastMs" | "granted" | "done">;

const NEWLINE = 10;

function timesOf(e: Entry): number {
  return Math.max(e.message.frequency?.times ?? 1, 1);
}

export function expiredAt(m: Message, nowMs: number): boolean {
  return m.expiresMs !== 0n && nowMs >= Number(m.expiresMs);
}

/**
 * The in-app messages that the phone keeps and shows at a moment of their own: the rules of
 * the protocol's section "Messages that wait". Times are arguments: now by the server's
 * clock, mono by the monotonic one, ms.
 */
export class Waiting {
  private all: Entry[] = [];
  private open = false;
  private screen = "";

  get empty(): boolean {
    return this.all.length === 0;
  }

  /** The ids that may still be shown. */
  get left(): string[] {
    return this.all.filter((e) => !e.done).map((e) => e.message.messageId);
  }

  private find(id: string): Entry | undefined {
    return this.all.find((e) => e.message.messageId === id);
  }

  private come(e: Entry, mono: number): void {
    if (!e.done) e.readyAt ??= mono + (e.message.trigger?.delayMs ?? 0);
  }

  /** What a new message has missed: the session, or the screen that is shown. */
  private begin(e: Entry, mono: number): void {
    const t = e.message.trigger;
    if (this.open && !t?.event && (!t?.screen || t.screen === this.screen)) this.come(e, mono);
  }

  /** Takes what the inbox holds; whether anything has changed. */
  sync(inbox: Iterable<Message>, mono: number): boolean {
    let changed = false;
    const have = new Set<string>();
    for (const m of inbox) {
      if (!m.trigger) continue;
      have.add(m.messageId);
      let e = this.find(m.messageId);
      if (!e) {
        e = entry(m, { shown: 0, lastMs: 0, granted: false, done: m.read });
        this.all.push(e);
        this.begin(e, mono);
        changed = true;
      } else if (e.message !== m) {
        e.message = m;
        changed = true;
      }
      if (m.read && !e.granted && !e.done) changed = e.done = true;
    }
    const left = this.all.filter((e) => have.has(e.message.messageId) || (e.granted && !e.done));
    changed ||= left.length !== this.all.length;
    this.all = left;
    return changed;
  }

  /** Takes a message that was offered and is shown now, if it may be shown again. */
  keep(m: Message, now: number, mono: number): boolean {
    if (this.find(m.messageId) || m.trigger || (m.frequency?.times ?? 0) < 2) return false;
    this.all.push(entry(m, { shown: 0, lastMs: 0, granted: true, done: false }));
    this.was(m.messageId, now, mono);
    return true;
  }

  /** Begins a session of the app. */
  foreground(mono: number): void {
    this.open = true;
    this.screen = "";
    for (const e of this.all) {
      e.session = false;
      this.begin(e, mono);
    }
  }

  background(): void {
    this.open = false;
    this.screen = "";
    for (const e of this.all) e.readyAt = undefined;
  }

  /** The app has tracked an event. */
  event(name: string, mono: number): void {
    if (!this.open || name === "") return;
    for (const e of this.all) if (e.message.trigger?.event === name) this.come(e, mono);
  }

  /** The app shows another screen, or the same anew. */
  shows(screen: string, mono: number): void {
    if (!this.open) return;
    this.screen = screen;
    for (const e of this.all) {
      const of = e.message.trigger?.screen;
      if (!of) continue;
      if (of === screen) this.come(e, mono);
      else e.readyAt = undefined;
    }
  }

  /**
   * The message that is to be shown first and whether it was granted, or when there may be
   * one, by the monotonic clock; undefined: not before something happens.
   */
  due(now: number, mono: number): { message: Message; granted: boolean } | number | undefined {
    let first: (Entry & { readyAt: number }) | undefined;
    let next: number | undefined;
    for (const e of this.all) {
      const { message: m, readyAt } = e;
      if (readyAt === undefined || e.done || expiredAt(m, now) || e.shown >= timesOf(e)) continue;
      if (e.session && m.frequency?.perSession) continue;
      const gap = m.frequency?.minGapMs ?? 0;
      // A gap longer than the phone's clock was put back by would never end.
      const at = e.shown > 0 ? Math.max(readyAt, mono + Math.min(e.lastMs + gap - now, gap)) : readyAt;
      if (at > mono) next = Math.min(next ?? at, at);
      else if (
        !first ||
        readyAt < first.readyAt ||
        (readyAt === first.readyAt && m.messageId < first.message.messageId)
      ) {
        first = e as Entry & { readyAt: number };
      }
    }
    return first ? { message: first.message, granted: first.granted } : next;
  }

  /** Whether it is one of those that wait. */
  has(id: string): boolean {
    return this.find(id) !== undefined;
  }

  grant(id: string): void {
    const e = this.find(id);
    if (e) e.granted = true;
  }

  /** It is on the screen; how often it was. */
  was(id: string, now: number, mono: number): number {
    const e = this.find(id);
    if (!e) return 0;
    e.shown++;
    e.lastMs = now;
    e.granted = e.session = true;
    e.readyAt = undefined;
    if (e.shown >= timesOf(e)) e.done = true;
    else if (!e.message.trigger) e.readyAt = mono;
    return e.shown;
  }

  /** It is not to be shown any more; whether that is new. */
  drop(id: string): boolean {
    const e = this.find(id);
    if (!e || e.done) return false;
    e.done = true;
    return true;
  }

  /** After a logout. */
  forget(): void {
    this.all = [];
  }

  /** What must outlive the app's process. */
  save(now: number): Uint8Array {
    const some = this.all.filter((e) => !expiredAt(e.message, now) && !(e.done && !e.message.trigger));
    const kept = some.map(({ shown, lastMs, granted, done }): Kept => ({ shown, lastMs, granted, done }));
    const head = new TextEncoder().encode(`${JSON.stringify(kept)}\n`);
    const body = toBinary(InboxSchema, create(InboxSchema, { messages: some.map((e) => e.message) }));
    const out = new Uint8Array(head.length + body.length);
    out.set(head);
    out.set(body, head.length);
    return out;
  }

  load(b: Uint8Array): void {
    const end = b.indexOf(NEWLINE);
    const kept = JSON.parse(new TextDecoder().decode(b.subarray(0, end))) as Kept[];
    const { messages } = fromBinary(InboxSchema, b.subarray(end + 1));
    this.all = messages.flatMap((m, i) => (kept[i] ? [entry(m, kept[i])] : []));
  }
}

function entry(message: Message, kept: Kept): Entry {
  return { message, ...kept, session: false, readyAt: undefined };
}
