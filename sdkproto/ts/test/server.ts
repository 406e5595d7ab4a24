// The real server and the flaky network, for tests: bin/ of the repository, as `make
// build` puts it there.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { WebTransport } from "../src/adapters/web.js";
import { root } from "./where.js";

export interface Process {
  /** The first line of stdout that the pattern matches. */
  line(pattern: RegExp): Promise<RegExpMatchArray>;
  stop(): Promise<void>;
}

function run(name: string, args: string[]): Process {
  const path = join(root, "bin", name);
  assert.ok(existsSync(path), `bin/${name} is missing: run make build`);
  const child: ChildProcess = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const lines: string[] = [];
  const waiting: { pattern: RegExp; found: (m: RegExpMatchArray) => void }[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      for (const w of [...waiting]) {
        const m = w.pattern.exec(line);
        if (m) w.found(m);
      }
    });
  }
  return {
    line: (pattern) =>
      new Promise((resolve, reject) => {
        for (const line of lines) {
          const m = pattern.exec(line);
          if (m) return resolve(m);
        }
        waiting.push({ pattern, found: resolve });
        ended.then(() => reject(new Error(`${name} ended without ${pattern}: ${lines.slice(-5).join("\n")}`)));
        return undefined;
      }),
    stop: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** The real server, in a folder of its own. */
export interface Server {
  url: string;
  host: string;
  /** Of an admin. */
  key: string;
  appId: string;
  appKey: string;
  /** Proof of who a user is, as the app's own server would make it. */
  hmac(userId: string): string;
  api<T>(method: string, path: string, body?: unknown): Promise<T>;
  stop(): Promise<void>;
}

export async function serve(): Promise<Server> {
  const dir = await mkdtemp(join(tmpdir(), "footfall-ts-"));
  const p = run("footfall", [
    "serve",
    "--data-dir",
    dir,
    "--listen",
    "127.0.0.1:0",
    "--log-level",
    "error",
    "--limits-install-items-per-s",
    "1000000",
  ]);
  const stop = async () => {
    await p.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const [, key = ""] = await p.line(/admin key.*: (ffk_\S+)/);
    const [, url = ""] = await p.line(/ at (http:\S+)/);
    const api = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
      const r = await fetch(url + path, {
        method,
        headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await r.text();
      assert.ok(r.ok, `${method} ${path}: ${r.status} ${text}`);
      return JSON.parse(text) as T;
    };
    const secret = randomBytes(24).toString("hex");
    const app = await api<{ id: string; key: string }>("POST", "/api/v1/apps", {
      id: "shop",
      name: "Shop",
      platform: "web",
      identity_secret: secret,
    });
    return {
      url,
      host: url.slice("http://".length),
      key,
      appId: app.id,
      appKey: app.key,
      hmac: (userId) => createHmac("sha256", secret).update(`v1\0${app.id}\0${userId}`).digest("hex"),
      api,
      stop,
    };
  } catch (e) {
    await stop();
    throw e;
  }
}

/** A bad network in front of a server: see `footfall-lab flaky --help`. */
export async function flaky(target: string, cuts: number, seed: number) {
  const p = run("footfall-lab", [
    "flaky",
    "--listen",
    "127.0.0.1:0",
    "--target",
    target,
    "--cuts",
    String(cuts),
    "--seed",
    String(seed),
    "--max-time",
    "50ms",
  ]);
  const [, host = ""] = await p.line(/"listen":"([^"]+)"/);
  return { url: `http://${host}`, done: p.line(/"cuts":(\d+)/), stop: p.stop };
}

/** The transport of the web with the WebSocket of "ws": Node 20 has none of its own. */
export function nodeTransport(): WebTransport {
  return new WebTransport(WebSocket as unknown as typeof globalThis.WebSocket);
}
