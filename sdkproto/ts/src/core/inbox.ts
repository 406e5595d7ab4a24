import { clone, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Inbox as Changes,
  InboxSchema,
  type Message,
  Message_Kind,
  MessageSchema,
  Receipt_State,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import { type Button, buttonsOf, type Content, contentOf, type Receipt, type Shown } from "./messages.js";
import { MAX_INBOX } from "./protocol.js";

/** A message in the person's inbox. */
export interface InboxMessage extends Content {
  /** The person has seen it. */
  readonly read: boolean;
  /** It stands above those that are not. */
  readonly pinned: boolean;
  readonly buttons: readonly Button[];
}

/** The person's inbox, as it is kept on the phone. */
export interface Inbox {
  /** Pinned ones, then the others, each newest first; those that have expired are left out. */
  list(): InboxMessage[];
  /** Hears of each change; the function returned ends it. */
  onChange(heard: (messages: InboxMessage[]) => void): () => void;
  /** The person has opened it. */
  markRead(id: string): Promise<void>;
  /** The person has removed it. */
  dismiss(id: string): Promise<void>;
}

/** InboxStore keeps messages together with the cursor, as one value of the store. */
export class InboxStore implements Inbox {
  private messages = new Map<string, Message>();
  /** What the person removed and the server may still send. */
  private dismissed = new Set<string>();
  cursor = "";
  private listeners = new Set<(messages: InboxMessage[]) => void>();

  constructor(
    private readonly keep: (b: Uint8Array) => Promise<void>,
    private readonly shown: Shown,
    private readonly expired: (m: Message) => boolean,
    private readonly receipt: Receipt,
    /** Hears what the inbox holds, what waits in it included. */
    private readonly held: (messages: Iterable<Message>) => void,
  ) {}

  load(b: Uint8Array): void {
    const kept = fromBinary(InboxSchema, b);
    this.cursor = kept.cursor;
    this.dismissed = new Set(kept.gone);
    this.messages = new Map(kept.messages.map((m) => [m.messageId, m]));
    this.held(this.messages.values());
  }

  private save(): Promise<void> {
    return this.keep(
      toBinary(
        InboxSchema,
        create(InboxSchema, {
          full: true,
          messages: [...this.messages.values()],
          gone: [...this.dismissed].slice(-2 * MAX_INBOX),
          cursor: this.cursor,
        }),
      ),
    );
  }

  /** Applies what the server says. Rejects when the store does: then it comes again. */
  async take(c: Changes): Promise<void> {
    const before = this.messages;
    const beforeCursor = this.cursor;
    const next = new Map(c.full ? [] : before);
    for (const id of c.gone) {
      next.delete(id);
      this.dismissed.delete(id);
    }
    const fresh: string[] = [];
    for (const m of c.messages) {
      if (this.dismissed.has(m.messageId)) continue;
      fresh.push(m.messageId);
      // What the person read here stays read, though its receipt may still wait.
      const known = next.get(m.messageId) ?? before.get(m.messageId);
      next.delete(m.messageId); // the newest come last
      const now = clone(MessageSchema, m);
      now.read ||= known?.read ?? false;
      next.set(m.messageId, now);
    }
    for (const id of [...next.keys()].slice(0, Math.max(0, next.size - MAX_INBOX))) next.delete(id);
    this.messages = next;
    if (c.cursor !== "") this.cursor = c.cursor;
    try {
      await this.save();
    } catch (e) {
      this.messages = before;
      this.cursor = beforeCursor;
      throw e;
    }
    // Delivered, not displayed: the person has not opened it. Once per id, and not of one
    // that was shown in the app.
    for (const id of await this.shown.add(fresh.filter((id) => next.has(id)))) {
      this.receipt(id, Receipt_State.DELIVERED, "inbox");
    }
    this.tell();
  }

  /** An inbox message of its own, as to an SDK without the capability. */
  async put(m: Message): Promise<void> {
    await this.take(create(InboxSchema, { messages: [m] }));
  }

  /** Another person comes: all is forgotten. */
  async forget(): Promise<void> {
    this.messages = new Map();
    this.dismissed.clear();
    this.cursor = "";
    await this.save();
    this.tell();
  }

  private tell(): void {
    this.held(this.messages.values());
    if (this.listeners.size === 0) return;
    const all = this.list();
    for (const heard of [...this.listeners]) heard(all);
  }

  list(): InboxMessage[] {
    return [...this.messages.values()]
      .filter((m) => m.kind !== Message_Kind.IN_APP && !this.expired(m)) // those only wait for their moment
      .reverse()
      .sort((a, b) => Number(b.pinned) - Number(a.pinned))
      .map((m) => ({ ...contentOf(m), read: m.read, pinned: m.pinned, buttons: buttonsOf(m) }));
  }

  onChange(heard: (messages: InboxMessage[]) => void): () => void {
    this.listeners.add(heard);
    return () => this.listeners.delete(heard);
  }

  async markRead(id: string): Promise<void> {
    const m = this.messages.get(id);
    if (!m || m.read) return;
    m.read = true;
    this.receipt(id, Receipt_State.DISPLAYED, "inbox");
    await this.save();
    this.tell();
  }

  async dismiss(id: string): Promise<void> {
    if (!this.messages.delete(id)) return;
    this.dismissed.add(id);
    this.receipt(id, Receipt_State.DISMISSED, "inbox");
    await this.save();
    this.tell();
  }
}
