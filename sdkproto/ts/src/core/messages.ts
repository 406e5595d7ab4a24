import { type Message, Receipt_State } from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { ClockPort } from "../ports.js";
import { MAX_SHOWN } from "./protocol.js";

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

/** A button of an in-app message. */
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

/** By the number of Display.Style. */
const styles = ["banner", "banner", "modal", "full_screen"] as const;

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

/**
 * Messages claims an in-app message only when it can be shown at that moment, and shows it
 * when the claim is granted: one at a time, each once.
 */
export class Messages {
  private handler: ((m: InAppMessage) => void) | undefined;
  private paused = false;
  /** The message that is claimed or on the screen. */
  private busy: { message: Message; shown: boolean; timer?: unknown } | undefined;
  private freeAt = 0;
  gapMs = 0;

  constructor(
    private readonly clock: ClockPort,
    private readonly shown: Shown,
    private readonly foreground: () => boolean,
    private readonly skewMs: () => number,
    private readonly claim: (id: string) => boolean,
    private readonly receipt: Receipt,
    private readonly trouble: (what: string, e: unknown) => void,
  ) {}

  onMessage(handler: ((m: InAppMessage) => void) | undefined): void {
    this.handler = handler;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  expired(m: Message): boolean {
    return m.expiresMs !== 0n && this.clock.now() + this.skewMs() >= Number(m.expiresMs);
  }

  private showable(m: Message): boolean {
    return (
      this.handler !== undefined &&
      !this.paused &&
      this.foreground() &&
      !this.expired(m) &&
      !this.shown.has(m.messageId) &&
      this.clock.mono() >= this.freeAt
    );
  }

  /** An in-app message came. Without a claim in 2 s the server sends it as a push. */
  offered(m: Message): void {
    if (this.busy || !this.showable(m)) return;
    if (this.claim(m.messageId)) this.busy = { message: m, shown: false };
  }

  /** The claim was granted: remember the id, then show. */
  async granted(id: string): Promise<void> {
    const b = this.busy;
    if (b?.message.messageId !== id || b.shown) return;
    const { handler } = this;
    // What has come up since the claim: then the message ends in the inbox.
    if (!handler || !this.showable(b.message)) {
      this.busy = undefined;
      return;
    }
    try {
      await this.shown.add([id]);
    } catch (e) {
      // A crash now could show it twice; not showing it would lose it for sure.
      this.trouble("keep shown message", e);
    }
    if (this.busy !== b) return; // a logout came meanwhile
    b.shown = true;
    const m = this.inApp(b.message);
    this.receipt(id, Receipt_State.DISPLAYED, "in_app");
    if (m.dismissAfterMs !== undefined) b.timer = this.clock.setTimeout(() => this.gone(id), m.dismissAfterMs);
    try {
      handler(m);
    } catch (e) {
      this.trouble("onMessage", e);
      this.gone(id);
    }
  }

  denied(id: string): void {
    if (this.busy?.message.messageId === id && !this.busy.shown) this.busy = undefined;
  }

  /** The app left the foreground: nothing is on its screen any more. */
  left(): void {
    const id = this.busy?.shown ? this.busy.message.messageId : "";
    if (id !== "") this.gone(id);
  }

  /** The person has logged out: what was about to be shown was theirs. */
  forget(): void {
    this.left();
    this.busy = undefined;
  }

  private gone(id: string): void {
    const b = this.busy;
    if (b?.message.messageId !== id || !b.shown) return;
    this.clock.clearTimeout(b.timer);
    this.busy = undefined;
    this.freeAt = this.clock.mono() + this.gapMs;
  }

  private inApp(m: Message): InAppMessage {
    const d = m.display;
    let said = false;
    const end = (state: Receipt_State, actionId?: string) => {
      if (!said) this.receipt(m.messageId, state, "in_app", actionId);
      said = true;
      this.gone(m.messageId);
    };
    return {
      ...contentOf(m),
      style: (d && styles[d.style]) ?? "banner",
      buttons: (d?.actions ?? []).slice(0, 3).map((a) => ({ id: a.id, label: a.label, deepLink: a.deepLink })),
      dismissAfterMs: d && d.dismissAfterMs > 0 ? d.dismissAfterMs : undefined,
      open: () => end(Receipt_State.OPENED),
      action: (buttonId) => end(Receipt_State.ACTION, buttonId),
      dismiss: () => end(Receipt_State.DISMISSED),
    };
  }
}
