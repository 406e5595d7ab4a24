/**
 * Ports for tests: a clock that stands until it is told to go on, a store in memory that
 * outlives a client and can fail, a network whose other end is the test.
 */
import type {
  Circle,
  ClockPort,
  Fix,
  GeofenceEvent,
  GeofencePort,
  HttpRequest,
  HttpResponse,
  LifecyclePort,
  LocationPort,
  PushPort,
  PushTarget,
  Socket,
  SocketEvents,
  StoragePort,
  StoredItem,
  TransportPort,
  WatchOptions,
} from "../ports.js";

/** A clock that only the test moves. */
export class FakeClock implements ClockPort {
  bootId = "boot-1";
  /** What random returns. */
  chance = 0;
  private wall = 1_795_262_400_000;
  private up = 1_000;
  private timers = new Map<number, { at: number; run: () => void }>();
  private last = 0;

  now(): number {
    return this.wall;
  }
  mono(): number {
    return this.up;
  }
  random(): number {
    return this.chance;
  }
  setTimeout(run: () => void, ms: number): unknown {
    this.timers.set(++this.last, { at: this.up + Math.max(0, ms), run });
    return this.last;
  }
  clearTimeout(timer: unknown): void {
    this.timers.delete(timer as number);
  }
  /** Somebody set the phone's wall clock. */
  setWall(ms: number): void {
    this.wall = ms;
  }
  /** How many timers are set. */
  get waiting(): number {
    return this.timers.size;
  }

  /** Lets time pass, runs what becomes due in its order, and lets promises settle. */
  async advance(ms: number): Promise<void> {
    const end = this.up + ms;
    await settle();
    for (;;) {
      let next: [number, { at: number; run: () => void }] | undefined;
      for (const t of this.timers) if (t[1].at <= end && (!next || t[1].at < next[1].at)) next = t;
      if (!next) break;
      this.timers.delete(next[0]);
      this.wall += Math.max(0, next[1].at - this.up);
      this.up = Math.max(this.up, next[1].at);
      next[1].run();
      await settle();
    }
    this.wall += end - this.up;
    this.up = end;
    await settle();
  }
}

/** Lets promises settle that wait for nothing but each other. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    let rounds = 0;
    channel.port1.onmessage = () => {
      if (++rounds < 8) channel.port2.postMessage(0);
      else {
        channel.port1.close();
        resolve();
      }
    };
    channel.port2.postMessage(0);
  });
}

/** A store in memory. Give it to the next client: that is what a restart finds. */
export class MemoryStorage implements StoragePort {
  items: StoredItem[] = [];
  values = new Map<string, Uint8Array>();
  nextSeq = 1;
  /** Where set, called before each write; what it throws is the write's failure. */
  fail: ((call: string) => void) | undefined;

  private async write<T>(call: string, run: () => T): Promise<T> {
    this.fail?.(call);
    return run();
  }
  async load() {
    return { items: [...this.items], values: new Map(this.values), nextSeq: this.nextSeq };
  }
  append(bodies: readonly Uint8Array[]): Promise<number[]> {
    return this.write("append", () =>
      bodies.map((body) => {
        this.items.push({ seq: this.nextSeq, body });
        return this.nextSeq++;
      }),
    );
  }
  remove(seqs: readonly number[]): Promise<void> {
    const gone = new Set(seqs);
    return this.write("remove", () => {
      this.items = this.items.filter((i) => !gone.has(i.seq));
    });
  }
  renumber(above: number): Promise<StoredItem[]> {
    return this.write("renumber", () => {
      if (this.nextSeq <= above) {
        this.items = this.items.map((s, i) => ({ seq: above + 1 + i, body: s.body }));
        this.nextSeq = above + 1 + this.items.length;
      }
      return [...this.items];
    });
  }
  set(key: string, value: Uint8Array | undefined): Promise<void> {
    return this.write(`set ${key}`, () => {
      if (value) this.values.set(key, value);
      else this.values.delete(key);
    });
  }
  claim(key: string, value: Uint8Array): Promise<Uint8Array> {
    return this.write(`claim ${key}`, () => {
      const kept = this.values.get(key) ?? value;
      this.values.set(key, kept);
      return kept;
    });
  }
  async get(key: string): Promise<Uint8Array | undefined> {
    return this.values.get(key);
  }
  close(): void {}
}

/** A websocket whose other end is the test. */
export class FakeSocket implements Socket {
  /** What the client sent and the test has not taken. */
  readonly sent: (Uint8Array | string)[] = [];
  /** How the client closed it. */
  closed: { code: number; reason: string } | undefined;

  constructor(
    readonly url: string,
    readonly subprotocol: string,
    readonly events: SocketEvents,
    private readonly changed: () => void,
  ) {}
  send(data: Uint8Array | string): void {
    this.sent.push(data);
    this.changed();
  }
  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
    this.changed();
  }
}

/** A request that waits for the test's answer. */
export interface FakeRequest extends HttpRequest {
  answer(status: number, body?: Uint8Array, headers?: Record<string, string>): void;
  fail(): void;
}

/** A network whose other end is the test. */
export class FakeTransport implements TransportPort {
  readonly sockets: FakeSocket[] = [];
  readonly requests: FakeRequest[] = [];
  /** Called after everything that the client does. */
  changed: () => void = () => undefined;

  connect(url: string, subprotocol: string, events: SocketEvents): Socket {
    const s = new FakeSocket(url, subprotocol, events, () => this.changed());
    this.sockets.push(s);
    this.changed();
    return s;
  }
  request(r: HttpRequest): Promise<HttpResponse> {
    return new Promise((resolve, reject) => {
      this.requests.push({
        ...r,
        answer: (status, body = new Uint8Array(), headers = {}) =>
          resolve({ status, body, header: (name) => headers[name] }),
        fail: () => reject(new Error("the network failed")),
      });
      this.changed();
    });
  }
}

export class FakeLifecycle implements LifecyclePort {
  private heard = new Set<(foreground: boolean) => void>();
  constructor(private is = true) {}
  foreground(): boolean {
    return this.is;
  }
  onChange(heard: (foreground: boolean) => void): () => void {
    this.heard.add(heard);
    return () => this.heard.delete(heard);
  }
  set(foreground: boolean): void {
    this.is = foreground;
    for (const h of this.heard) h(foreground);
  }
}

/** A phone that is where the test says. */
export class FakeLocation implements LocationPort {
  /** What is asked for now; undefined: nothing. */
  asked: WatchOptions | undefined;
  /** What current resolves with, one after the other; the last stays. */
  next: (Fix | undefined)[] = [];
  private onFix: ((f: Fix) => void) | undefined;

  watch(o: WatchOptions, onFix: (f: Fix) => void): () => void {
    this.asked = o;
    this.onFix = onFix;
    return () => {
      if (this.asked === o) this.asked = this.onFix = undefined;
    };
  }
  async current(): Promise<Fix | undefined> {
    return this.next.length > 1 ? this.next.shift() : this.next[0];
  }
  fix(f: Fix): void {
    this.onFix?.(f);
  }
}

/** An OS that watches circles and refuses those that the test names. */
export class FakeGeofence implements GeofencePort {
  circles: readonly Circle[] = [];
  refuse: Record<string, string> = {};
  private heard = new Set<(e: GeofenceEvent) => void>();

  async set(circles: readonly Circle[]): Promise<{ id: string; osCode: string }[]> {
    this.circles = circles.filter((c) => this.refuse[c.id] === undefined);
    return circles.flatMap((c) => {
      const osCode = this.refuse[c.id];
      return osCode === undefined ? [] : [{ id: c.id, osCode }];
    });
  }
  onEvent(heard: (e: GeofenceEvent) => void): () => void {
    this.heard.add(heard);
    return () => this.heard.delete(heard);
  }
  report(e: GeofenceEvent): void {
    for (const h of this.heard) h(e);
  }
}

export class FakePush implements PushPort {
  private tokens = new Set<(t: PushTarget) => void>();
  private pushes = new Set<(p: { messageId: string; via: "fcm" | "apns"; opened: boolean }) => void>();
  onToken(heard: (t: PushTarget) => void): () => void {
    this.tokens.add(heard);
    return () => this.tokens.delete(heard);
  }
  onPush(heard: (p: { messageId: string; via: "fcm" | "apns"; opened: boolean }) => void): () => void {
    this.pushes.add(heard);
    return () => this.pushes.delete(heard);
  }
  token(t: PushTarget): void {
    for (const h of this.tokens) h(t);
  }
  push(p: { messageId: string; via: "fcm" | "apns"; opened: boolean }): void {
    for (const h of this.pushes) h(p);
  }
}
