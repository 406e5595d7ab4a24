// A shop's page with the SDK: what an app has to do, and nothing else. serve.mjs bundles it
// and says by /config.json where the server is; /proof is what the shop's own server does.
import { type Footfall, type InAppMessage, type InboxMessage, init, type Preset, type Purpose } from "../src/index.js";

interface Place {
  name: string;
  lat: number;
  lng: number;
  radiusM: number;
}
interface Config {
  endpoint: string;
  appKey: string;
  places: Place[];
}

const SVG = "http://www.w3.org/2000/svg";
const purposes: Purpose[] = ["marketing", "location_foreground", "location_precise", "profiling"];

function $<T extends Element>(selector: string): T {
  const e = document.querySelector<T>(selector);
  if (!e) throw new Error(`the page has no ${selector}`);
  return e;
}

function log(text: string): void {
  const all = $("#log");
  all.append(`${new Date().toLocaleTimeString()}  ${text}\n`);
  all.scrollTop = all.scrollHeight;
}

/** Runs what a button does; what the SDK refuses stands in the log. */
function does(what: string, run: () => Promise<unknown>): void {
  run().then(
    () => log(what),
    (e: unknown) => log(`${what}: ${e instanceof Error ? e.message : e}`),
  );
}

/** Who the person is, proven by the shop's own server: its secret never comes to the page. */
async function proof(userId: string): Promise<{ hmac: string }> {
  const r = await fetch(`proof?user_id=${encodeURIComponent(userId)}`);
  if (!r.ok) throw new Error(`no proof of ${userId}: ${r.status}`);
  return (await r.json()) as { hmac: string };
}

function show(m: InAppMessage): void {
  const box = document.createElement("div");
  box.id = "message";
  box.className = m.style;
  const close = (then: () => void) => {
    box.remove();
    then();
  };
  const [title, body] = [document.createElement("b"), document.createElement("p")];
  title.textContent = m.title;
  body.textContent = m.body;
  box.append(title, body);
  const button = (label: string, then: () => void) => {
    const b = document.createElement("button");
    b.textContent = label;
    b.onclick = () => close(then);
    box.append(b, " ");
  };
  for (const a of m.buttons) button(a.label, () => m.action(a.id));
  if (m.buttons.length === 0) button("Show me", () => m.open());
  button("Close", () => m.dismiss());
  document.querySelector("#message")?.remove();
  document.body.append(box);
  log(`message: ${m.title}`);
}

function list(footfall: Footfall, messages: InboxMessage[]): void {
  $("#inbox").replaceChildren(
    ...messages.map((m) => {
      const li = document.createElement("li");
      li.className = m.read ? "" : "unread";
      li.textContent = `${m.pinned ? "[pinned] " : ""}${m.title} — ${m.body} `;
      for (const [label, run] of [
        ["read", () => footfall.inbox.markRead(m.id)],
        ["remove", () => footfall.inbox.dismiss(m.id)],
      ] as const) {
        const b = document.createElement("button");
        b.textContent = label;
        b.onclick = () => does(`${label} ${m.title}`, run);
        li.append(b);
      }
      return li;
    }),
  );
}

/** Draws the places, metres to metres, and tells where somebody clicks. */
function map(places: Place[], clicked: (lat: number, lng: number) => void): void {
  const svg = $<SVGSVGElement>("#map");
  const lat0 = places.reduce((n, p) => n + p.lat, 0) / Math.max(places.length, 1);
  const [perLat, perLng] = [110_574, 111_320 * Math.cos((lat0 * Math.PI) / 180)];
  const at = places.map((p) => ({ ...p, x: p.lng * perLng, y: -p.lat * perLat }));
  const left = Math.min(...at.map((p) => p.x - p.radiusM)) - 50;
  const top = Math.min(...at.map((p) => p.y - p.radiusM)) - 50;
  const width = Math.max(...at.map((p) => p.x + p.radiusM)) + 50 - left;
  const height = Math.max(...at.map((p) => p.y + p.radiusM)) + 50 - top;
  if (places.length === 0) return;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const circle = (x: number, y: number, r: number, title: string) => {
    const c = document.createElementNS(SVG, "circle");
    c.setAttribute("cx", String(x - left));
    c.setAttribute("cy", String(y - top));
    c.setAttribute("r", String(r));
    c.append(document.createElementNS(SVG, "title"));
    if (c.firstChild) c.firstChild.textContent = title;
    svg.append(c);
    return c;
  };
  for (const p of at) circle(p.x, p.y, p.radiusM, p.name);
  let me: Element | undefined;
  svg.addEventListener("click", (e) => {
    const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM()?.inverse());
    me?.remove();
    me = circle(p.x + left, p.y + top, Math.max(width, height) / 120, "you");
    me.setAttribute("class", "me");
    clicked(-(p.y + top) / perLat, (p.x + left) / perLng);
  });
}

async function main(): Promise<void> {
  const config = (await (await fetch("config.json")).json()) as Config;
  const footfall = await init({
    endpoint: config.endpoint,
    appKey: config.appKey,
    appVersion: "example",
    onState: (s) => {
      $("#state").textContent = s;
    },
    onRejected: (r) => log(`refused ${r.kind}: ${r.code}${r.field && ` (${r.field})`} ${r.reason}`),
    onStopped: (e) => log(e.message),
    onTrouble: (what, e) => log(`${what}: ${e}`),
  });
  footfall.onMessage(show);
  footfall.onIdentityNeeded(proof);
  footfall.inbox.onChange((all) => list(footfall, all));
  list(footfall, footfall.inbox.list());
  setInterval(() => {
    $("#pending").textContent = String(footfall.pending);
  }, 250);

  const user = $<HTMLInputElement>("#user");
  $<HTMLButtonElement>("#identify").onclick = () =>
    does(`identify ${user.value}`, async () => footfall.identify(user.value, await proof(user.value)));
  $<HTMLButtonElement>("#logout").onclick = () => {
    for (const box of document.querySelectorAll<HTMLInputElement>("#consents input")) box.checked = false;
    does("logout", () => footfall.logout());
  };
  for (const p of purposes) {
    const [label, box] = [document.createElement("label"), document.createElement("input")];
    box.type = "checkbox";
    box.name = p;
    box.onchange = () =>
      does(`consent ${p}: ${box.checked}`, () => footfall.setConsent(p, box.checked, { textVersion: "example-1" }));
    label.append(box, ` ${p}`);
    $("#consents").append(label);
  }
  for (const b of document.querySelectorAll<HTMLButtonElement>("[data-track]")) {
    const name = b.dataset.track ?? "";
    b.onclick = () => does(`track ${name}`, () => footfall.track(name, { sku: "A-1" }));
  }
  const screen = $<HTMLSelectElement>("#screen");
  screen.onchange = () => footfall.showScreen(screen.value);
  footfall.showScreen(screen.value);
  const tracking = $<HTMLSelectElement>("#tracking");
  tracking.onchange = () =>
    does(`tracking ${tracking.value}`, () =>
      tracking.value === "off" ? footfall.stopTracking() : footfall.startTracking(tracking.value as Preset),
    );
  map(config.places, (lat, lng) => {
    $("#where").textContent = `at ${lat.toFixed(5)}, ${lng.toFixed(5)}`;
    does("position", () => footfall.reportFix({ lat, lng, accuracyM: 10, atMs: Date.now() }));
  });
  log("ready");
}

main().catch((e: unknown) => log(String(e)));
