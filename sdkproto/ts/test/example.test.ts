// The example page in a real browser, against the real server: what an app developer sees.
// FOOTFALL_SCREENSHOTS names a folder for a picture of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import WebSocket from "ws";
import { type Server, serve } from "./server.js";
import { packageDir } from "./where.js";

const chromium = (process.env.PATH ?? "")
  .split(delimiter)
  .map((d) => join(d, "chromium"))
  .find((p) => existsSync(p));

/** A page in a headless browser, spoken to by the DevTools protocol. */
class Page {
  private id = 0;
  private readonly waiting = new Map<number, { done: (v: unknown) => void; failed: (e: Error) => void }>();
  private constructor(
    private readonly socket: WebSocket,
    private readonly end: () => Promise<void>,
  ) {
    socket.on("message", (raw) => {
      const m = JSON.parse(String(raw)) as { id?: number; result?: unknown; error?: { message: string } };
      const w = this.waiting.get(m.id ?? -1);
      if (m.error) w?.failed(new Error(m.error.message));
      else w?.done(m.result);
    });
  }

  static async open(bin: string, url: string): Promise<Page> {
    const dir = await mkdtemp(join(tmpdir(), "footfall-chromium-"));
    const child = spawn(
      bin,
      [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        ...[`--user-data-dir=${dir}`, "--window-size=1100,1000", "--remote-debugging-port=0", url],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const end = async () => {
      child.kill("SIGKILL");
      await ended;
      // Its helpers may write for a moment more.
      await rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    };
    try {
      const port = await new Promise<string>((resolve, reject) => {
        createInterface({ input: child.stderr }).on("line", (line) => {
          const m = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(line);
          if (m?.[1]) resolve(m[1]);
        });
        ended.then(() => reject(new Error("chromium ended")));
      });
      for (;;) {
        const pages = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as {
          type: string;
          webSocketDebuggerUrl: string;
        }[];
        const page = pages.find((p) => p.type === "page");
        if (page) {
          const socket = new WebSocket(page.webSocketDebuggerUrl, { perMessageDeflate: false });
          await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
          return new Page(socket, end);
        }
        await new Promise((r) => setTimeout(r, 20));
      }
    } catch (e) {
      await end();
      throw e;
    }
  }

  private call<T>(method: string, params: object): Promise<T> {
    const id = ++this.id;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done: done as (v: unknown) => void, failed });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  async run<T>(expression: string): Promise<T> {
    const r = await this.call<{ result: { value: T }; exceptionDetails?: { text: string } }>("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    assert.equal(r.exceptionDetails, undefined, `${expression}: ${JSON.stringify(r.exceptionDetails)}`);
    return r.result.value;
  }

  /** Waits until the expression holds. */
  async until(what: string, expression: string): Promise<void> {
    for (const late = Date.now() + 60_000; Date.now() < late; ) {
      if (await this.run<boolean>(`Boolean(${expression})`)) return;
      await new Promise((r) => setTimeout(r, 50));
    }
    assert.fail(`${what}; the page says:\n${await this.run<string>("document.body.innerText")}`);
  }

  async picture(file: string): Promise<void> {
    const { data } = await this.call<{ data: string }>("Page.captureScreenshot", { format: "png" });
    await writeFile(file, Buffer.from(data, "base64"));
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.end();
  }
}

async function furnish(s: Server): Promise<void> {
  for (const [id, lat] of [
    ["cafe", 52.37],
    ["books", 52.372],
  ] as const) {
    await s.api("PUT", `/api/v1/places/${id}`, {
      name: id === "cafe" ? "Corner café" : "Book shop",
      geofences: [
        { id: `${id}-in`, ring: "inside", geometry: { type: "Point", coordinates: [4.895, lat] }, radius: 60 },
      ],
    });
  }
  const campaign = (title: string, more: object) => ({
    name: title,
    class: "marketing",
    status: "live",
    holdout_percent: 0,
    arms: [{ id: "a", message: { title, body: "Just for you", ...(more as { message?: object }).message } }],
    trigger: (more as { trigger: object }).trigger,
  });
  await s.api(
    "PUT",
    "/api/v1/campaigns/hello",
    campaign("Hello at {{ place.name }}", { trigger: { type: "place", transition: "enter", rings: ["inside"] } }),
  );
  await s.api(
    "PUT",
    "/api/v1/campaigns/help",
    campaign("Need help with your cart?", {
      trigger: { type: "event", event: "cart_filled" },
      message: {
        channels: ["in_app", "inbox"],
        in_app: { style: "modal", trigger: { screen: "checkout" } },
        inbox: { pinned: true },
      },
    }),
  );
}

test("the example page: consents, identify, a click in a circle, messages, inbox", async (t) => {
  if (!chromium) {
    t.skip("chromium is not installed");
    return;
  }
  const s = await serve();
  t.after(() => s.stop());
  await furnish(s);
  const child = spawn(
    process.execPath,
    [join(packageDir, "example/serve.mjs"), "--server", s.url, "--key", s.key, "--port", "0"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  t.after(async () => {
    child.kill("SIGTERM");
    await gone;
  });
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (l) => resolve(/http:\S+/.exec(l)?.[0] ?? ""));
    gone.then(() => reject(new Error("the example's server ended")));
  });
  const page = await Page.open(chromium, url);
  t.after(() => page.close());

  await page.until("no connection", `document.querySelector("#state")?.textContent === "open"`);
  assert.equal(await page.run(`document.querySelectorAll("#map circle").length`), 2);
  const log = `document.querySelector("#log").textContent`;
  const click = (selector: string) => page.run(`document.querySelector(${JSON.stringify(selector)}).click()`);
  /** In the middle of a circle, as the mouse does. */
  const into = (place: string) =>
    page.run(`(() => {
      const c = [...document.querySelectorAll("#map circle")].find((c) => c.textContent === ${JSON.stringify(place)});
      const { x, y, width, height } = c.getBoundingClientRect();
      c.dispatchEvent(new MouseEvent("click", { bubbles: true, clientX: x + width / 2, clientY: y + height / 2 }));
    })()`);

  // Without a consent a position is refused, and the page says so.
  await into("Corner café");
  await page.until("no refusal", `${log}.includes("refused location: consent_missing")`);
  for (const purpose of ["marketing", "location_foreground", "location_precise"]) {
    await click(`#consents [name=${purpose}]`);
  }
  await click("#identify");
  await page.until("identify waits", `${log}.includes("identify ada") && !${log}.includes("refused identify")`);

  await into("Corner café");
  await page.until("no message", `document.querySelector("#message b")?.textContent === "Hello at Corner café"`);
  await page.run(`[...document.querySelectorAll("#message button")].find((b) => b.textContent === "Close").click()`);

  // A card that waits for a screen: it comes into the inbox, and up when its screen is shown.
  await click('[data-track="cart_filled"]');
  await page.until("no card", `document.querySelector("#inbox").textContent.includes("Need help")`);
  await page.run(`(() => {
    const s = document.querySelector("#screen");
    s.value = "checkout";
    s.dispatchEvent(new Event("change"));
  })()`);
  await page.until(
    "no message on its screen",
    `document.querySelector("#message b")?.textContent?.startsWith("Need help")`,
  );
  if (process.env.FOOTFALL_SCREENSHOTS) {
    await page.picture(join(process.env.FOOTFALL_SCREENSHOTS, "sdk-example.png"));
  }
  await page.until("not all is acknowledged", `document.querySelector("#pending").textContent === "0"`);
  // States are saved behind the acks: until then nobody of that name is known.
  let person = { id: "" };
  for (const late = Date.now() + 60_000; person.id === "" && Date.now() < late; ) {
    person = await s.api<{ id: string }>("GET", "/api/v1/people/user_id:ada").catch(async () => {
      await new Promise((r) => setTimeout(r, 50));
      return { id: "" };
    });
  }
  assert.notEqual(person.id, "", "the proof of /proof is good");
});
