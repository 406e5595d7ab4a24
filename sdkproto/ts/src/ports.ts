/**
 * What the SDK needs of the machine it runs on. The web adapter fills them in for a page,
 * the Capacitor adapter for an app, the testing adapter for tests; a host may put its own
 * in place of any.
 */

/** A position, as the OS gave it. */
export interface Fix {
  /** WGS 84 degrees. */
  lat: number;
  lng: number;
  /** 68 % radius, m; 0 means not given. */
  accuracyM: number;
  /** Wall clock of the phone when it was made, Unix ms. */
  atMs: number;
  speedMps?: number;
  bearingDeg?: number;
  altitudeM?: number;
  /** The OS says that software made it. */
  mocked?: boolean;
}

export type Accuracy = "low" | "medium" | "high";

/** How positions are asked for. */
export interface WatchOptions {
  /** Wanted time between two fixes, ms. */
  intervalMs: number;
  accuracy: Accuracy;
  /** Ask the OS to go on in the background, visibly (continuous). */
  foregroundService: boolean;
  /** iOS: also visits and significant changes. */
  visits: boolean;
  significantChanges: boolean;
}

/** Where positions come from. */
export interface LocationPort {
  /** Begins to report fixes; the function returned ends it. Errors are told, not thrown. */
  watch(o: WatchOptions, onFix: (f: Fix) => void, onError: (e: unknown) => void): () => void;
  /** One fix of now; undefined when there is none within timeoutMs. */
  current(o: { accuracy: Accuracy; timeoutMs: number }): Promise<Fix | undefined>;
}

/** A circle to watch. */
export interface Circle {
  id: string;
  lat: number;
  lng: number;
  radiusM: number;
  onEnter: boolean;
  onExit: boolean;
  /** Android: report DWELL after so long inside; 0 means never. */
  dwellS: number;
}

/** What the OS reported about a circle. */
export interface GeofenceEvent {
  id: string;
  transition: "enter" | "exit" | "dwell";
  /** The position that the OS attached. */
  fix?: Fix;
  /** Wall clock, Unix ms; absent means now. */
  atMs?: number;
}

/** The OS's own geofences. */
export interface GeofencePort {
  /**
   * Makes the circles the whole set of the SDK's, the first being the most wanted; those
   * of the host app are never touched. Resolves with those that the OS refused.
   */
  set(circles: readonly Circle[]): Promise<{ id: string; osCode: string }[]>;
  /** Hears what the OS reports, also what woke the app; the function returned ends it. */
  onEvent(heard: (e: GeofenceEvent) => void): () => void;
}

/** Where a push for this install goes. */
export interface PushTarget {
  provider: "fcm" | "apns";
  token: string;
  /** APNs: "production" (also when absent) or "sandbox". */
  environment?: "production" | "sandbox";
  /** APNs: the bundle id; absent means the app's. */
  topic?: string;
}

/** Pushes. */
export interface PushPort {
  /** Hears the token of now and each later one. */
  onToken(heard: (t: PushTarget) => void): () => void;
  /** Hears of a push with a message of Footfall's: it arrived, or the person opened it. */
  onPush(heard: (p: { messageId: string; via: "fcm" | "apns"; opened: boolean }) => void): () => void;
}

/** An item as it is kept: its seq and its bytes, which do not hold the seq. */
export interface StoredItem {
  seq: number;
  body: Uint8Array;
}

/**
 * What must outlive the app's process. A call resolves when what it says is durable; a
 * call that rejects has changed nothing, and is made again. Several pages of one origin
 * may share a store: that no seq is given twice is the store's to see to.
 */
export interface StoragePort {
  /** Everything: items in the order of their seq. Called once, first. */
  load(): Promise<{ items: StoredItem[]; values: Map<string, Uint8Array>; nextSeq: number }>;
  /** Keeps items at the end, in this order, and returns the seqs given, from nextSeq on. */
  append(bodies: readonly Uint8Array[]): Promise<number[]>;
  /** Forgets items that were acknowledged or refused. */
  remove(seqs: readonly number[]): Promise<void>;
  /**
   * Unless the next seq is above the number already, gives all items new seqs above it,
   * in their order. Returns all items as they are then.
   */
  renumber(above: number): Promise<StoredItem[]>;
  /** Keeps a value; undefined forgets it. */
  set(key: string, value: Uint8Array | undefined): Promise<void>;
  /**
   * Keeps a value unless one is kept under the key, in one step; returns the one that is
   * kept then. So two pages that open at once for the first time are one install.
   */
  claim(key: string, value: Uint8Array): Promise<Uint8Array>;
  /** The value as it is kept now, which another page may have changed. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Lets go. Nothing is called afterwards. */
  close(): void;
}

/** Time and chance. */
export interface ClockPort {
  /** Wall clock, Unix ms. */
  now(): number;
  /** Monotonic clock, ms, above zero. */
  mono(): number;
  /**
   * Boot in which mono counts, sleep included; "" when it does not count sleep, or nobody
   * knows: then it only serves the SDK's own timers.
   */
  bootId: string;
  /** A number in [0, 1), for jitter. */
  random(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** What a socket tells. open comes first, close last and once. */
export interface SocketEvents {
  open(subprotocol: string): void;
  message(data: Uint8Array | string): void;
  /** 1006 when nobody said why. */
  close(code: number, reason: string): void;
}

/** A websocket. */
export interface Socket {
  send(data: Uint8Array | string): void;
  /** Ends it; events.close comes later. */
  close(code: number, reason: string): void;
}

export interface HttpRequest {
  method: "GET" | "POST";
  url: string;
  headers: Record<string, string>;
  body?: Uint8Array;
  timeoutMs: number;
}

export interface HttpResponse {
  status: number;
  /** Of a header, whose name is in lower case; undefined without it. */
  header(name: string): string | undefined;
  body: Uint8Array;
}

/** The network. */
export interface TransportPort {
  connect(url: string, subprotocol: string, events: SocketEvents): Socket;
  /** Rejects when there was no answer. */
  request(r: HttpRequest): Promise<HttpResponse>;
  /** Compresses; absent means that nothing can. */
  gzip?(b: Uint8Array): Promise<Uint8Array>;
}

/** Is the app in the foreground? */
export interface LifecyclePort {
  foreground(): boolean;
  onChange(heard: (foreground: boolean) => void): () => void;
}

/** All of them. */
export interface Ports {
  storage: StoragePort;
  clock: ClockPort;
  transport: TransportPort;
  lifecycle: LifecyclePort;
  /** Absent: the app cannot tell where it is. */
  location?: LocationPort;
  /** Absent: no OS watches circles; places are judged by the fixes of the foreground. */
  geofence?: GeofencePort;
  /** Absent: the host calls setPushToken, if there is one. */
  push?: PushPort;
}
