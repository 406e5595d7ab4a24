// The live page: polls /api/v1/live once a second and draws it. Plain script, no
// library, nothing from elsewhere. The key stays in this tab (sessionStorage).
"use strict";

const $ = (id) => document.getElementById(id);
const POLL_MS = 1000;
const state = { key: "", revision: 0, places: [], present: new Map(), people: new Map(), data: null, filter: "", seen: new Set(), pulses: [], failures: 0 };

// ---- key ----------------------------------------------------------------
function takeKey() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const given = hash.get("key");
  if (hash.has("heat")) showHeat(true);
  if (given) {
    sessionStorage.setItem("footfall-key", given);
    history.replaceState(null, "", location.pathname); // not into the history or a screenshot
  }
  return sessionStorage.getItem("footfall-key") || "";
}
function askForKey(why) {
  sessionStorage.removeItem("footfall-key");
  state.key = "";
  if (why) $("why").textContent = why;
  $("gate").hidden = false;
  $("forget").hidden = true;
  $("key").focus();
}
$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  state.key = $("key").value.trim();
  $("key").value = "";
  sessionStorage.setItem("footfall-key", state.key);
  start();
});
$("forget").addEventListener("click", () => askForKey("Enter another server key."));
window.addEventListener("hashchange", () => {
  const key = takeKey();
  if (key && key !== state.key) { state.key = key; start(); }
});

// ---- polling ------------------------------------------------------------
let timer = 0;
let running = 0;
function start() {
  $("gate").hidden = true;
  $("forget").hidden = false;
  Object.assign(state, { revision: 0, places: [], present: new Map(), people: new Map(), data: null, seen: new Set(), pulses: [], failures: 0 });
  $("weather").hidden = true;
  view.fitted = true;
  running++;
  channelsAt = 0;
  $("alerts").hidden = true;
  poll(running);
}
async function ask(path) {
  const r = await fetch(path, { headers: { Authorization: "Bearer " + state.key }, cache: "no-store" });
  const body = await r.json();
  if (!r.ok) throw Object.assign(new Error(body.reason || r.statusText), { status: r.status });
  return body;
}
async function poll(run) {
  clearTimeout(timer);
  try {
    const live = await ask("/api/v1/live?revision=" + state.revision);
    const decisions = state.filter ? (await ask("/api/v1/decisions?limit=40&state=" + state.filter)).items : live.decisions;
    if (run !== running) return;
    state.failures = 0;
    take(live, decisions);
    await takeChannels(run);
    await takeHeat(run);
  } catch (e) {
    if (run !== running) return;
    if (e.status === 401) { askForKey("That key is not in force. Enter a server key."); return; }
    state.failures++;
    setStatus("bad", e.status ? e.message : "the server does not answer");
  }
  timer = setTimeout(() => poll(run), document.hidden ? 5000 : Math.min(POLL_MS * 2 ** Math.min(state.failures, 4), 15000));
}
// Push credentials that somebody must look at.
const CHANNELS_MS = 10000;
let channelsAt = 0;
async function takeChannels(run) {
  if (Date.now() - channelsAt < CHANNELS_MS) return;
  const { items } = await ask("/api/v1/channels");
  if (run !== running) return;
  channelsAt = Date.now();
  const wrong = items.filter((c) => c.alert);
  $("alerts").hidden = wrong.length === 0;
  $("alerts").replaceChildren(...wrong.map((c) => {
    const li = el("li");
    const waiting = c.live.waiting + c.bulk.waiting;
    li.append(el("b", "", `${c.app} · ${c.provider} ${c.state}`), ` ${c.alert}.` + (waiting ? ` ${count(waiting)} waiting.` : ""));
    return li;
  }));
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && state.key) poll(running); });

function setStatus(kind, text) {
  $("status").className = kind;
  $("status").lastElementChild.textContent = text;
}

function take(live, decisions) {
  const first = !state.data;
  state.data = live;
  if (live.places) {
    state.places = live.places;
    state.revision = live.revision;
  }
  state.present = new Map(live.present.map((p) => [p.place, p]));
  movePeople(live.people);
  setStatus(live.ready ? "ok" : "", live.ready ? clock(live.at) : "catching up: " + (live.missing || []).join(", "));
  $("workspace").textContent = live.name || live.workspace;
  drawWeather(live.weather);
  drawTotals(live);
  drawCampaigns(live.campaigns);
  drawReasons(live.suppressed);
  for (const d of live.decisions) {
    if (!first && !state.seen.has(d.id)) pulse(d);
  }
  drawFeed(decisions, first);
  for (const d of live.decisions) state.seen.add(d.id);
  if (state.seen.size > 5000) state.seen = new Set(live.decisions.map((d) => d.id));
  if (view.fitted) fit();
  draw();
}

// ---- numbers, tables, feed ----------------------------------------------
const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const hour = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
const count = (n) => n.toLocaleString("en-US");
const labels = { sent: "sent", held_out: "held out", suppressed: "not sent", pending: "pending", expired: "expired", failed: "failed" };

function el(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// The weather that the newest decisions were made with; it stays until there is a
// newer one. Licences want the provider named beside it.
function drawWeather(w) {
  if (!w) return;
  const box = $("weather");
  box.hidden = false;
  const [values, kind, source] = box.children;
  values.textContent = `${w.condition.replaceAll("_", " ")}, ${Math.round(w.temperature_c)} °C`;
  kind.textContent = `${w.kind || "weather"} for ${hour(w.at)}`;
  source.textContent = w.attribution || w.provider;
}

// Decided is held out, sent, pending, expired and failed together: each ends once. What
// follows says how, and one message can count in several.
function drawTotals(live) {
  const t = live.totals;
  const rows = [
    ["people on the map", live.people.length, "", live.more_people ? "at least" : ""],
    ["visits inside", live.present.reduce((n, p) => n + p.inside, 0), "--at", live.more_present ? "at least" : "", "Visits that go on and have been inside"],
    ["visits near", live.present.reduce((n, p) => n + p.arriving, 0), "--at", live.more_present ? "at least" : "", "Visits that go on in an approach ring only; one person can be near several places"],
    ["decided", t.decided, "", "", "Every gate said yes: a message was ordered, or the person was held out"],
    ["held out", t.held_out, "--held_out", "", "Eligible, and in the control group that gets nothing"],
    ["sent", t.sent, "--sent", "", "A provider took it, or the app confirmed that it showed it"],
    ["pending", t.pending, "--pending", "", "Ordered, and not settled yet: on its way, or in the inbox and not seen"],
    ["expired", t.expired, "--expired", "", "Its time was over before it was accepted or shown"],
    ["failed", t.failed, "--failed", "", "Delivery was given up"],
    ["push accepted", t.accepted, "--sent", "", "A push provider took it"],
    ["shown in the app", t.in_app, "--sent", "", "The app confirmed that it showed it"],
    ["put into the inbox", t.inboxed, "--pending", "", "Whether it was seen there is not known from this: those that were are sent"],
    ["reported displayed", t.displayed, "--sent", "", "The phone reported that it was displayed"],
    ["reported opened", t.opened, "--sent", "", "The phone reported that it was opened"],
    ["not sent", t.suppressed, "--suppressed", "", "A gate said no, and the decision says why"],
  ];
  $("totals").replaceChildren(...rows.map(([name, n, tone, prefix, meaning]) => {
    const li = el("li");
    if (meaning) li.title = meaning;
    if (tone) li.style.setProperty("--tone", `var(${tone})`);
    li.append(el("b", "", (prefix ? "≥ " : "") + count(n)), el("span", "", name));
    return li;
  }));
}

function drawCampaigns(campaigns) {
  const body = $("campaigns").tBodies[0];
  if (!campaigns.length) {
    const td = el("td", "empty", "No campaign is live yet.");
    td.colSpan = 14;
    const tr = el("tr");
    tr.append(td);
    body.replaceChildren(tr);
    return;
  }
  body.replaceChildren(...campaigns.map((c) => {
    const tr = el("tr");
    const name = el("td", "", c.name);
    name.title = c.id;
    if (c.status !== "live") name.append(el("span", "state", c.status));
    const t = c.totals;
    tr.append(name, ...[t.decided, t.held_out, t.sent, t.pending, t.expired + t.failed, t.in_app, t.inboxed, t.displayed, t.opened, t.visited, t.bought].map((n) => el("td", "", count(n))));
    const reached = el("td", "", count(t.reached));
    reached.title = `${count(t.goals)} times; its message came last before ${count(t.last_touch)} of these, and assisted ${count(t.assisted)}`;
    tr.append(reached, el("td", "", count(t.suppressed)));
    return tr;
  }));
}

function drawReasons(reasons) {
  const most = Math.max(1, ...reasons.map((r) => r.count));
  $("reasons").replaceChildren(...(reasons.length ? reasons.map((r) => {
    const li = el("li");
    li.title = r.reason;
    const bar = el("i");
    bar.style.width = Math.max(1, (100 * r.count) / most) + "%";
    li.append(el("span", "", r.words), el("b", "", count(r.count)), bar);
    return li;
  }) : [el("li", "empty", "Nothing was held back yet.")]));
}

// Items stay in the page while they stay in the list, so that an open one stays open.
const items = new Map();
function drawFeed(decisions, first) {
  const wanted = decisions.map((d) => {
    let li = items.get(d.id);
    const stamp = d.state + d.updated_at + (d.receipts || []).length;
    if (!li || li.dataset.stamp !== stamp) {
      const open = li ? li.firstElementChild.open : false;
      const fresh = el("li", !li && !first && !state.seen.has(d.id) ? "new" : "");
      fresh.dataset.stamp = stamp;
      fresh.style.setProperty("--tone", `var(--${d.state})`);
      fresh.append(decisionElement(d, open));
      items.set(d.id, fresh);
      li = fresh;
    }
    return li;
  });
  const ids = new Set(decisions.map((d) => d.id));
  for (const id of items.keys()) if (!ids.has(id)) items.delete(id);
  const feed = $("feed");
  if (!wanted.length) wanted.push(el("li", "empty", state.filter ? "None of this kind yet." : "Nothing has triggered a campaign yet."));
  const same = feed.children.length === wanted.length && wanted.every((li, i) => feed.children[i] === li);
  if (!same) feed.replaceChildren(...wanted);
}

function decisionElement(d, open) {
  const box = el("details");
  box.open = open;
  const summary = el("summary");
  const line = el("div", "line");
  line.append(el("b", "", d.campaign_name || d.campaign), el("span", "chip", labels[d.state] || d.state), el("time", "", clock(d.at)));
  summary.append(line, el("div", "moment", d.moment), el("div", "", d.words));
  const gates = el("ul", "gates");
  for (const g of d.gates) {
    const li = el("li");
    li.append(el("span", g.ok ? "ok" : "no", g.ok ? "✓" : "✗"), el("span", "name", g.gate), el("span", "", g.words));
    gates.append(li);
  }
  const facts = el("li", "facts", `person ${d.profile.slice(0, 8)} · arm ${d.arm || "–"}${d.channel ? " · " + d.channel : ""}${d.detail ? " · " + d.detail : ""} · decision ${d.id.slice(0, 8)}`);
  gates.append(facts);
  box.append(summary, gates);
  return box;
}

$("filter").addEventListener("click", (e) => {
  const b = e.target.closest("button");
  if (!b) return;
  state.filter = b.dataset.state;
  for (const x of $("filter").children) x.setAttribute("aria-pressed", String(x === b));
  if (state.key) poll(++running);
});

// ---- map ----------------------------------------------------------------
// Metres east and north of the places' middle; on the scale of a town this plain
// projection is as good as any.
const canvas = $("canvas");
const ctx = canvas.getContext("2d");
const M_PER_DEG = 111320;
const view = { lat: 0, lng: 0, cos: 1, x: 0, y: 0, scale: 1, fitted: true, w: 0, h: 0 };

const toMetres = (p) => ({ x: (p.lng - view.lng) * M_PER_DEG * view.cos, y: (p.lat - view.lat) * M_PER_DEG });
const toScreen = (m) => ({ x: view.w / 2 + (m.x - view.x) * view.scale, y: view.h / 2 - (m.y - view.y) * view.scale });

function fit() {
  const points = state.places.length ? state.places : state.data ? state.data.people : [];
  if (!points.length || !view.w) return;
  view.lat = points.reduce((s, p) => s + p.lat, 0) / points.length;
  view.lng = points.reduce((s, p) => s + p.lng, 0) / points.length;
  view.cos = Math.max(0.05, Math.cos((view.lat * Math.PI) / 180));
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const p of points) {
    const m = toMetres(p);
    const r = Math.max(60, ...(p.geofences || []).map((f) => f.radius_m));
    x0 = Math.min(x0, m.x - r); x1 = Math.max(x1, m.x + r);
    y0 = Math.min(y0, m.y - r); y1 = Math.max(y1, m.y + r);
  }
  view.x = (x0 + x1) / 2;
  view.y = (y0 + y1) / 2;
  view.scale = Math.min((view.w - 40) / (x1 - x0), (view.h - 70) / (y1 - y0));
}

// People glide from where they were to where they are.
function movePeople(list) {
  const now = performance.now();
  const next = new Map();
  for (const p of list) {
    const old = state.people.get(p.install);
    const from = old ? glide(old, now) : p;
    next.set(p.install, { ...p, from: { lat: from.lat, lng: from.lng }, since: now });
  }
  state.people = next;
}
function glide(p, now) {
  const t = Math.min(1, (now - p.since) / POLL_MS);
  return { lat: p.from.lat + (p.lat - p.from.lat) * t, lng: p.from.lng + (p.lng - p.from.lng) * t };
}
function pulse(d) {
  const place = state.places.find((p) => p.id === d.trigger.place);
  if (place && d.state !== "suppressed") state.pulses.push({ place, color: d.state, since: performance.now() });
}

let colors = {};
function readColors() {
  // Colours are resolved by an element: a custom property keeps light-dark() unresolved.
  const probe = el("i");
  document.body.append(probe);
  for (const name of ["inside", "near", "person", "at", "grid", "ink", "dim", "land", "sent", "held_out", "pending", "failed", "expired", "suppressed"]) {
    probe.style.color = `var(--${name})`;
    colors[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColors);

function alpha(color, a) {
  return color.replace(/^rgba?\(([^)]+)\)$/, (_, c) => `rgba(${c.split(",").slice(0, 3).join(",")}, ${a})`);
}
function circle(p, r) {
  ctx.beginPath();
  ctx.arc(p.x, p.y, r, 0, 2 * Math.PI);
}

// ---- heat ---------------------------------------------------------------
// Live devices by H3 cell. The server makes no newer map within 15 s, and leaves
// out what would show a few.
const HEAT_MS = 15000;
const EDGE_M = { 4: 26072, 5: 9854, 6: 3725, 7: 1406, 8: 531, 9: 201, 10: 76 }; // of a cell, by resolution
const heat = { on: false, cells: [], most: 1, asked: "", since: 0 };
function showHeat(on) {
  Object.assign(heat, { on, cells: [], asked: "" });
  $("heat").setAttribute("aria-pressed", String(on));
}
$("heat").addEventListener("click", (e) => {
  e.stopPropagation(); // it is no zoom
  showHeat(!heat.on);
  if (state.key) poll(++running);
});
async function takeHeat(run) {
  if (!heat.on || !view.w) return;
  const fits = Object.keys(EDGE_M).map(Number).filter((r) => EDGE_M[r] * view.scale >= 14);
  const degrees = (x, y) => ({
    lat: Math.max(-90, Math.min(90, view.lat + y / M_PER_DEG)),
    lng: Math.max(-180, Math.min(180, view.lng + x / M_PER_DEG / view.cos)),
  });
  const margin = 1.2; // a cell whose centre is outside may reach in
  const [w, h] = [(margin * view.w) / 2 / view.scale, (margin * view.h) / 2 / view.scale];
  const [sw, ne] = [degrees(view.x - w, view.y - h), degrees(view.x + w, view.y + h)];
  const box = [sw.lng, sw.lat, ne.lng, ne.lat].map((x) => x.toFixed(4)).join(",");
  const asked = `bbox=${box}&resolution=${Math.max(4, ...fits)}`;
  if (asked === heat.asked && performance.now() - heat.since < HEAT_MS) return;
  Object.assign(heat, { asked, since: performance.now() });
  try {
    const map = await ask("/api/v1/heat?format=geojson&" + asked);
    if (run !== running) return;
    heat.cells = map.features;
    heat.most = Math.max(1, ...map.features.map((f) => f.properties.count));
    $("heat").title = `${map.features.length} cells with at least ${map.least} live devices each, at ${clock(map.at)}`;
  } catch (e) {
    if (e.status === 401) throw e;
    heat.cells = [];
    $("heat").title = "no heat map: " + e.message;
  }
}
function drawHeat() {
  for (const f of heat.cells) {
    ctx.beginPath();
    for (const [ring] of f.geometry.coordinates) {
      ring.forEach(([lng, lat], i) => {
        const s = toScreen(toMetres({ lng, lat }));
        if (i) ctx.lineTo(s.x, s.y);
        else ctx.moveTo(s.x, s.y);
      });
    }
    ctx.fillStyle = alpha(colors.at, 0.1 + 0.5 * Math.sqrt(f.properties.count / heat.most));
    ctx.fill();
  }
}

function niceStep(metres) {
  const p = 10 ** Math.floor(Math.log10(metres));
  return [1, 2, 5, 10].map((n) => n * p).find((n) => n >= metres);
}

let labelled = [];
function loop() {
  requestAnimationFrame(loop);
  draw();
}
function draw() {
  if (!view.w || !state.data) return;
  const now = performance.now();
  ctx.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  ctx.clearRect(0, 0, view.w, view.h);
  const step = niceStep(110 / view.scale);
  ctx.strokeStyle = colors.grid;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let x = Math.floor((view.x - view.w / 2 / view.scale) / step) * step; x < view.x + view.w / 2 / view.scale; x += step) {
    const s = Math.round(toScreen({ x, y: 0 }).x) + 0.5;
    ctx.moveTo(s, 0); ctx.lineTo(s, view.h);
  }
  for (let y = Math.floor((view.y - view.h / 2 / view.scale) / step) * step; y < view.y + view.h / 2 / view.scale; y += step) {
    const s = Math.round(toScreen({ x: 0, y }).y) + 0.5;
    ctx.moveTo(0, s); ctx.lineTo(view.w, s);
  }
  ctx.stroke();
  $("scale").firstElementChild.style.width = step * view.scale + "px";
  $("scale").lastElementChild.textContent = step >= 1000 ? step / 1000 + " km" : step + " m";

  drawHeat();
  for (const ring of ["near", "inside"]) {
    for (const place of state.places) {
      for (const f of place.geofences) {
        if (f.ring !== ring) continue;
        circle(toScreen(toMetres(f)), Math.max(f.radius_m * view.scale, 2.5));
        ctx.fillStyle = alpha(colors[ring], ring === "inside" ? 0.2 : 0.05);
        ctx.fill();
        ctx.setLineDash(ring === "near" ? [5, 4] : []);
        ctx.strokeStyle = alpha(colors[ring], ring === "inside" ? 0.95 : 0.55);
        ctx.lineWidth = ring === "inside" ? 1.5 : 1;
        ctx.stroke();
      }
    }
  }
  ctx.setLineDash([]);

  state.pulses = state.pulses.filter((p) => now - p.since < 1800);
  for (const p of state.pulses) {
    const t = (now - p.since) / 1800;
    circle(toScreen(toMetres(p.place)), 8 + 34 * t);
    ctx.strokeStyle = alpha(colors[p.color] || colors.pending, 1 - t);
    ctx.lineWidth = 3 * (1 - t) + 0.5;
    ctx.stroke();
  }

  const coarse = new Map();
  for (const p of state.people.values()) {
    if (p.coarse) {
      const at = `${p.lat},${p.lng}`;
      coarse.set(at, { p, n: (coarse.get(at)?.n || 0) + 1 });
      continue;
    }
    const s = toScreen(toMetres(glide(p, now)));
    const at = (p.places || []).length > 0;
    circle(s, at ? 3.6 : 3);
    ctx.fillStyle = alpha(at ? colors.at : colors.person, p.lifecycle === "background" ? 0.65 : 1);
    ctx.fill();
    ctx.strokeStyle = colors.land;
    ctx.lineWidth = 1;
    ctx.stroke();
  }
  ctx.font = "600 11px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const { p, n } of coarse.values()) {
    const s = toScreen(toMetres(p));
    circle(s, 12);
    ctx.fillStyle = alpha(colors.land, 0.85);
    ctx.fill();
    ctx.strokeStyle = colors.person;
    ctx.lineWidth = 1.5;
    ctx.stroke();
    ctx.fillStyle = colors.ink;
    ctx.fillText(String(n), s.x, s.y);
  }
  drawLabels();
}

// Names of places where there is room for them.
function drawLabels() {
  labelled = [];
  ctx.font = "12px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const place of state.places) {
    const s = toScreen(toMetres(place));
    if (s.x < 0 || s.y < 0 || s.x > view.w || s.y > view.h) continue;
    const inner = Math.min(...place.geofences.map((f) => f.radius_m)) * view.scale;
    const here = state.present.get(place.id)?.inside;
    const text = here ? `${place.name} · ${here}` : place.name;
    const w = ctx.measureText(text).width;
    const box = { x: s.x - w / 2 - 3, y: s.y + Math.max(inner, 4) + 3, w: w + 6, h: 15 };
    if (labelled.some((o) => box.x < o.x + o.w && o.x < box.x + box.w && box.y < o.y + o.h && o.y < box.y + box.h)) continue;
    labelled.push(box);
    ctx.lineWidth = 3;
    ctx.lineJoin = "round";
    ctx.strokeStyle = alpha(colors.land, 0.9);
    ctx.strokeText(text, s.x, box.y);
    ctx.fillStyle = colors.dim;
    ctx.fillText(text, s.x, box.y);
  }
}

function zoomAt(x, y, factor) {
  const mx = view.x + (x - view.w / 2) / view.scale;
  const my = view.y - (y - view.h / 2) / view.scale;
  view.scale = Math.min(20, Math.max(0.0005, view.scale * factor));
  view.x = mx - (x - view.w / 2) / view.scale;
  view.y = my + (y - view.h / 2) / view.scale;
  view.fitted = false;
}
canvas.addEventListener("wheel", (e) => {
  e.preventDefault();
  zoomAt(e.offsetX, e.offsetY, Math.exp(-e.deltaY * 0.0015));
}, { passive: false });
canvas.addEventListener("dblclick", () => { view.fitted = true; fit(); });
$("zoom").addEventListener("click", (e) => {
  const by = Number(e.target.dataset.zoom);
  if (by) zoomAt(view.w / 2, view.h / 2, by);
  else { view.fitted = true; fit(); }
});
let drag = null;
canvas.addEventListener("pointerdown", (e) => { drag = { x: e.clientX, y: e.clientY }; canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointerup", () => { drag = null; });
canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; });
canvas.addEventListener("pointermove", (e) => {
  if (drag) {
    view.x -= (e.clientX - drag.x) / view.scale;
    view.y += (e.clientY - drag.y) / view.scale;
    drag = { x: e.clientX, y: e.clientY };
    view.fitted = false;
    $("tip").hidden = true;
    return;
  }
  const text = whatIsAt(e.offsetX, e.offsetY);
  const tip = $("tip");
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  tip.style.left = Math.min(e.offsetX + 14, view.w - 200) + "px";
  tip.style.top = Math.min(e.offsetY + 14, view.h - 80) + "px";
});

function whatIsAt(x, y) {
  const now = performance.now();
  const near = (p, r) => { const s = toScreen(toMetres(p)); return Math.hypot(s.x - x, s.y - y) <= r; };
  const names = (ids) => ids.map((id) => state.places.find((p) => p.id === id)?.name || id).join(", ");
  for (const p of state.people.values()) {
    if (!p.coarse && near(glide(p, now), 7)) {
      return [`person ${p.profile.slice(0, 8)}`, `${p.platform || "phone"}, ${p.lifecycle || "not seen yet"}`, p.accuracy_m ? `± ${Math.round(p.accuracy_m)} m` : "", (p.places || []).length ? "at " + names(p.places) : ""].filter(Boolean).join("\n");
    }
    if (p.coarse && near(p, 12)) return "People who did not agree to precise location, somewhere in about 5 km² around here";
  }
  for (const place of state.places) {
    if (place.geofences.some((f) => f.ring === "inside" && near(f, Math.max(f.radius_m * view.scale, 8)))) {
      const { inside, arriving } = state.present.get(place.id) || { inside: 0, arriving: 0 };
      return `${place.name}\n${(place.tags || []).join(", ")}\n${inside} inside, ${arriving} arriving`.replace("\n\n", "\n");
    }
  }
  return "";
}

new ResizeObserver(() => {
  const box = canvas.getBoundingClientRect();
  view.w = box.width;
  view.h = box.height;
  canvas.width = Math.round(box.width * devicePixelRatio);
  canvas.height = Math.round(box.height * devicePixelRatio);
  if (view.fitted) fit();
  draw(); // the new size has wiped it
}).observe(canvas);

readColors();
requestAnimationFrame(loop);
state.key = takeKey();
if (state.key) start();
else askForKey();
