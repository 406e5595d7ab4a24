import type {
  ClockPort,
  Fix,
  HttpRequest,
  HttpResponse,
  LifecyclePort,
  LocationPort,
  PushPort,
  Socket,
  SocketEvents,
  TransportPort,
  WatchOptions,
} from "../ports.js";

/** The clock of a page. */
export class WebClock implements ClockPort {
  // performance.now stands still in some browsers while the machine sleeps: it serves
  // timers, and the server is told no boot.
  readonly bootId = "";
  now(): number {
    return Date.now();
  }
  mono(): number {
    return performance.now() + 1;
  }
  random(): number {
    return Math.random();
  }
  setTimeout(run: () => void, ms: number): unknown {
    return setTimeout(run, ms);
  }
  clearTimeout(timer: unknown): void {
    clearTimeout(timer as ReturnType<typeof setTimeout> | undefined);
  }
}

/** WebSocket, fetch and CompressionStream. */
export class WebTransport implements TransportPort {
  readonly gzip?: (b: Uint8Array) => Promise<Uint8Array>;

  constructor(
    private readonly WebSocketClass: typeof WebSocket = globalThis.WebSocket,
    private readonly fetcher: typeof fetch = (...a) => globalThis.fetch(...a),
  ) {
    if (typeof CompressionStream === "function") {
      this.gzip = async (b) => {
        const zipped = new Blob([b as BlobPart]).stream().pipeThrough(new CompressionStream("gzip"));
        return new Uint8Array(await new Response(zipped).arrayBuffer());
      };
    }
  }

  connect(url: string, subprotocol: string, events: SocketEvents): Socket {
    const ws = new this.WebSocketClass(url, subprotocol);
    ws.binaryType = "arraybuffer";
    ws.onopen = () => events.open(ws.protocol);
    ws.onmessage = (e: MessageEvent<ArrayBuffer | string>) =>
      events.message(typeof e.data === "string" ? e.data : new Uint8Array(e.data));
    ws.onclose = (e) => events.close(e.code, e.reason);
    ws.onerror = () => undefined; // close follows, and says what can be said
    return {
      send: (data) => ws.send(data as Uint8Array<ArrayBuffer> | string),
      close: (code, reason) => ws.close(code, reason),
    };
  }

  async request(r: HttpRequest): Promise<HttpResponse> {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), r.timeoutMs);
    try {
      const answer = await this.fetcher(r.url, {
        method: r.method,
        headers: r.headers,
        body: (r.body as BodyInit | undefined) ?? null,
        signal: abort.signal,
        cache: "no-store",
        credentials: "omit",
        // A page that is being left may still finish a small one.
        keepalive: (r.body?.length ?? 0) < 60_000,
      });
      const body = new Uint8Array(await answer.arrayBuffer());
      return { status: answer.status, header: (name) => answer.headers.get(name) ?? undefined, body };
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A page that is visible is in the foreground. */
export class WebLifecycle implements LifecyclePort {
  foreground(): boolean {
    return document.visibilityState === "visible";
  }
  onChange(heard: (foreground: boolean) => void): () => void {
    let last = this.foreground();
    const tell = (now: boolean) => {
      if (now === last) return;
      last = now;
      heard(now);
    };
    const look = () => tell(this.foreground());
    const hide = () => tell(false);
    document.addEventListener("visibilitychange", look);
    addEventListener("pagehide", hide);
    addEventListener("pageshow", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      removeEventListener("pagehide", hide);
      removeEventListener("pageshow", look);
    };
  }
}

function fixOf(p: GeolocationPosition): Fix {
  const c = p.coords;
  const f: Fix = { lat: c.latitude, lng: c.longitude, accuracyM: c.accuracy, atMs: p.timestamp };
  if (c.speed !== null) f.speedMps = c.speed;
  if (c.heading !== null && !Number.isNaN(c.heading)) f.bearingDeg = c.heading;
  if (c.altitude !== null) f.altitudeM = c.altitude;
  return f;
}

/** navigator.geolocation: positions of the foreground. It asks the person when first used. */
export class WebLocation implements LocationPort {
  constructor(private readonly geo: Geolocation = navigator.geolocation) {}

  watch(o: WatchOptions, onFix: (f: Fix) => void, onError: (e: unknown) => void): () => void {
    if (o.intervalMs <= 0) return () => undefined; // a page has no visits
    const id = this.geo.watchPosition(
      (p) => onFix(fixOf(p)),
      // Chromium reports an empty error between two fixes: it means nothing.
      (e) => {
        if (e.message !== "" || e.code === 1) onError(new Error(`geolocation ${e.code}: ${e.message}`));
      },
      { enableHighAccuracy: o.accuracy === "high", maximumAge: o.intervalMs / 2 },
    );
    return () => this.geo.clearWatch(id);
  }

  current(o: { accuracy: string; timeoutMs: number }): Promise<Fix | undefined> {
    return new Promise((resolve) => {
      this.geo.getCurrentPosition(
        (p) => resolve(fixOf(p)),
        () => resolve(undefined),
        { enableHighAccuracy: o.accuracy === "high", timeout: o.timeoutMs, maximumAge: 0 },
      );
    });
  }
}

/**
 * Pushes by a service worker. The host gets its token from the messaging library that it
 * uses, and the worker tells of pushes:
 *
 *     // in the worker, at "push" and at "notificationclick"
 *     client.postMessage({ footfall: { messageId, via: "fcm", opened: false } })
 */
export class WebPush implements PushPort {
  constructor(
    /** The token of now, asked for when the SDK begins. */
    private readonly token: () => Promise<string | undefined>,
    private readonly worker: ServiceWorkerContainer = navigator.serviceWorker,
  ) {}

  onToken(heard: Parameters<PushPort["onToken"]>[0]): () => void {
    let live = true;
    this.token().then(
      (token) => {
        if (live && token) heard({ provider: "fcm", token });
      },
      () => undefined, // the person does not want pushes
    );
    return () => {
      live = false;
    };
  }

  onPush(heard: Parameters<PushPort["onPush"]>[0]): () => void {
    const listen = (e: MessageEvent<unknown>) => {
      const said = (e.data as { footfall?: { messageId?: unknown; via?: unknown; opened?: unknown } } | null)?.footfall;
      if (typeof said?.messageId !== "string") return;
      heard({ messageId: said.messageId, via: said.via === "apns" ? "apns" : "fcm", opened: said.opened === true });
    };
    this.worker.addEventListener("message", listen);
    return () => this.worker.removeEventListener("message", listen);
  }
}
