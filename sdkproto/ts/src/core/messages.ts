import { type Message, Receipt_State } from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { ClockPort } from "../ports.js";
import { MAX_SHOWN } from "./protocol.js";
import { expiredAt, Waiting } from "./waiting.js";

/** What a message says, in-app or inbox. */
export interface Content {
  /** The delivery's id, the same in push, in-app and inbox. */
  readonly id: string;
  readonly title: string;
  readonly body: string;
  /** Empty means none. */
  readonly deepLink: string;
  readonly imageUrl: string;
  readonly data: Readonly<Record<string, string>>;
  readonly campaignId: string;
  /** By the server's clock, Unix ms; undefined means not said. */
  readonly sentAtMs: number | undefined;
  /** Unix ms; undefined means never. */
  readonly expiresAtMs: number | undefined;
}

export function contentOf(m: Message): Content {
  return {
    id: m.messageId,
    title: m.title,
    body: m.body,
    deepLink: m.deepLink,
    imageUrl: m.imageUrl,
    data: m.data,
    campaignId: m.campaignId,
    sentAtMs: m.sentMs === 0n ? undefined : Number(m.sentMs),
    expiresAtMs: m.expiresMs === 0n ? undefined : Number(m.expiresMs),
  };
}

/** A button of a message. */
export interface Button {
  readonly id: string;
  readonly label: string;
  /** Empty: it only closes the message. */
  readonly deepLink: string;
}

/**
 * An in-app message that the host shows now. It is on the screen until one of open, action
 * and dismiss is called, or dismissAfterMs has passed, or the app leaves the foreground:
 * until then no other one is shown. Each of them sends its receipt once.
 */
export interface InAppMessage extends Content {
  readonly style: "banner" | "modal" | "full_screen";
  readonly buttons: readonly Button[];
  /** It goes away by itself; undefined means never. The host takes it off the screen. */
  readonly dismissAfterMs: number | undefined;
  /** The person tapped it. */
  open(): void;
  /** The person tapped a button. */
  action(buttonId: string): void;
  /** The person closed it, or it went away. */
  dismiss(): void;
}

export type Receipt = (id: string, state: Receipt_State, via: string, actionId?: string) => void;

/** After a claim that was answered by an error, ms. */
const CLAIM_AGAIN_MS = 10_000;

/** By the number of Display.Style. */
const styles = ["banner", "banner", "modal", "full_screen"] as const;

export function buttonsOf(m: Message): Button[] {
  return (m.display?.actions ?? []).slice(0, 3).map((a) => ({ id: a.id, label: a.label, deepLink: a.deepLink }));
}

/** The ids that were shown: the newest thousand. */
export class Shown {
  private ids = new Set<string>();
  constructor(private readonly keep: (b: Uint8Array) => Promise<void>) {}

  load(b: Uint8Array): void {
    this.ids = new Set(new TextDecoder().decode(b).split("\n"));
  }

  has(id: string): boolean {
    return this.ids.has(id);
  }

  /** Remembers ids durably; resolves with those that are new. Rejects when the store does. */
  async add(ids: readonly string[]): Promise<string[]> {
    const fresh = ids.filter((id) => id !== "" && !this.ids.has(id));
    if (fresh.length === 0) return fresh;
    const next = [...this.ids, ...fresh].slice(-MAX_SHOWN);
    // Before the store has them: two of the same may come at once.
    this.ids = new Set(next);
    await this.keep(new TextEncoder().encode(next.join("\n")));
    return fresh;
  }
}

/** What Messages needs of the parts around it. */
export interface MessagesHost {
  foreground(): boolean;
  /** The server's clock minus the phone's, ms. */
  skewMs(): number;
  /** Asks for a grant; false without a session. */
  claim(id: string): boolean;
  receipt: Receipt;
  /** Keeps the messages that wait. */
  keep(b: Uint8Array): Promise<void>;
  trouble(what: string, e: unknown): void;
}

/**
 * Messages claims an in-app message only when it can be shown at that moment, and shows it
 * when the claim is granted: one at a time. What is offered is claimed at once or never;
 * what waits, when its moment has come.
 */
export class Messages {
  private handler: ((m: InAppMessage) => void) | undefined;
  private paused = false;
  /** The message that is claimed or on the screen. */
  private busy: { message: Message; shown: boolean; waits: boolean; timer?: unknown } | undefined;
  private freeAt = 0;
  gapMs = 0;
  private readonly waiting = new Waiting();
  /** A message that waits may be due then. */
  private looking: unknown;
  private saved: Promise<void> = Promise.resolve();

  constructor(
    private readonly clock: ClockPort,
    private readonly shown: Shown,
    private readonly host: MessagesHost,
  ) {}

  onMessage(handler: ((m: InAppMessage) => void) | undefined): void {
    this.handler = handler;
    this.look();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.look();
  }

  private now(): number {
    return this.clock.now() + this.host.skewMs();
  }

  expired(m: Message): boolean {
    return expiredAt(m, this.now());
  }

  /** Whether the screen is free for an in-app message. */
  private free(): boolean {
    return (
      this.handler !== undefined &&
      !this.paused &&
      !this.busy?.shown &&
      this.host.foreground() &&
      this.clock.mono() >= this.freeAt
    );
  }

  private showable(m: Message): boolean {
    return this.free() && !this.expired(m) && !this.shown.has(m.messageId);
  }

  // ------------------------------------------------------------------ what waits

  load(b: Uint8Array): void {
    this.waiting.load(b);
  }

  /** The inbox has changed: what waits in it. */
  sync(inbox: Iterable<Message>): void {
    if (this.waiting.sync(inbox, this.clock.mono())) this.save();
    this.look();
  }

  /** The app came to the foreground. */
  came(): void {
    this.waiting.foreground(this.clock.mono());
    this.look();
  }

  event(name: string): void {
    this.waiting.event(name, this.clock.mono());
    this.look();
  }

  screen(name: string): void {
    this.waiting.shows(name, this.clock.mono());
    this.look();
  }

  /** The person opened a message, acted upon it or dismissed it, wherever that was. */
  ended(id: string): void {
    if (this.waiting.drop(id)) this.save();
  }

  private save(): void {
    // One after the other: an earlier state must not come last.
    const b = this.waiting.save(this.now());
    this.saved = this.saved
      .then(() => this.host.keep(b))
      .catch((e: unknown) => this.host.trouble("keep messages that wait", e));
  }

  /** Shows the message that is due, or claims it where it was not granted; else looks again later. */
  look(): void {
    this.clock.clearTimeout(this.looking);
    this.looking = undefined;
    if (this.busy || this.waiting.empty) return; // looked again when the screen is free
    const mono = this.clock.mono();
    const due = this.waiting.due(this.now(), mono);
    if (due === undefined) return;
    const at = typeof due === "number" ? due : this.freeAt;
    if (at > mono) this.looking = this.clock.setTimeout(() => this.look(), at - mono);
    if (typeof due === "number" || !this.free()) return;
    const { message } = due;
    if (due.granted) {
      this.busy = { message, shown: false, waits: true };
      void this.show(this.busy);
    } else if (this.host.claim(message.messageId)) {
      this.busy = { message, shown: false, waits: true };
    }
  }

  // ------------------------------------------------------------------ claims

  /** An in-app message came. Without a claim in 2 s the server sends it as a push. */
  offered(m: Message): void {
    if (this.busy || !this.showable(m)) return;
    if (this.host.claim(m.messageId)) this.busy = { message: m, shown: false, waits: false };
  }

  /** The claim was granted: remember the id, then show. */
  async granted(id: string): Promise<void> {
    const b = this.busy;
    if (b?.message.messageId !== id || b.shown) return;
    if (b.waits) {
      this.waiting.grant(id);
      this.save();
      this.busy = undefined;
      this.look(); // is it still its moment?
      return;
    }
    // What has come up since the claim: then the message ends in the inbox.
    if (this.showable(b.message)) await this.show(b);
    else {
      this.busy = undefined;
      this.look();
    }
  }

  private async show(b: NonNullable<typeof this.busy>): Promise<void> {
    const { message } = b;
    const id = message.messageId;
    // Counted before it is shown: a crash in between loses one time, never doubles one.
    const times = b.waits ? this.waiting.was(id, this.now(), this.clock.mono()) : 1;
    if (b.waits || this.waiting.keep(message, this.now(), this.clock.mono())) this.save();
    try {
      await Promise.all([this.shown.add([id]), this.saved]);
    } catch (e) {
      // A crash now could show it twice; not showing it would lose it for sure.
      this.host.trouble("keep shown message", e);
    }
    if (this.busy !== b) return; // a logout came meanwhile
    const { handler } = this;
    if (!handler || !this.host.foreground()) {
      this.busy = undefined;
      return;
    }
    b.shown = true;
    const m = this.inApp(message);
    if (times === 1) this.host.receipt(id, Receipt_State.DISPLAYED, "in_app");
    if (m.dismissAfterMs !== undefined) b.timer = this.clock.setTimeout(() => this.gone(id), m.dismissAfterMs);
    try {
      handler(m);
    } catch (e) {
      this.host.trouble("onMessage", e);
      this.gone(id);
    }
  }

  /** There is no grant; refused: there will be none. */
  denied(id: string, refused: boolean): void {
    const b = this.busy;
    if (b?.message.messageId !== id || b.shown) return;
    this.busy = undefined;
    if (b.waits && refused) this.ended(id);
    if (refused)
      this.look(); // for the next one
    // With another session it is asked at once.
    else this.looking = this.clock.setTimeout(() => this.look(), CLAIM_AGAIN_MS);
  }

  /** The app left the foreground: nothing is on its screen any more. */
  left(): void {
    this.waiting.background();
    this.clock.clearTimeout(this.looking);
    const id = this.busy?.shown ? this.busy.message.messageId : "";
    if (id !== "") this.gone(id);
  }

  /** The person has logged out: what was about to be shown was theirs, and what waits. */
  forget(): void {
    this.waiting.forget();
    this.save();
    const id = this.busy?.shown ? this.busy.message.messageId : "";
    if (id !== "") this.gone(id);
    this.busy = undefined;
  }

  close(): void {
    this.handler = undefined;
    this.clock.clearTimeout(this.looking);
  }

  private gone(id: string): void {
    const b = this.busy;
    if (b?.message.messageId !== id || !b.shown) return;
    this.clock.clearTimeout(b.timer);
    this.busy = undefined;
    this.freeAt = this.clock.mono() + this.gapMs;
    this.look();
  }

  private inApp(m: Message): InAppMessage {
    const d = m.display;
    let said = false;
    const end = (state: Receipt_State, actionId?: string) => {
      if (!said) this.host.receipt(m.messageId, state, "in_app", actionId);
      said = true;
      this.gone(m.messageId);
    };
    return {
      ...contentOf(m),
      style: (d && styles[d.style]) ?? "banner",
      buttons: buttonsOf(m),
      dismissAfterMs: d && d.dismissAfterMs > 0 ? d.dismissAfterMs : undefined,
      open: () => end(Receipt_State.OPENED),
      action: (buttonId) => end(Receipt_State.ACTION, buttonId),
      dismiss: () => end(Receipt_State.DISMISSED),
    };
  }
}
