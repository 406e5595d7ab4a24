// Serves the example against a server, such as the one of `make demo`:
//
//   npm run example -- --server http://localhost:8080 --key ffk_…
//
// The key is an admin's (the demo prints one in the live page's address). It makes a web
// app for this run, whose public key goes to the page; the admin's key and the app's
// identity secret stay here, where /proof does what a shop's own server does. Listens on
// 127.0.0.1 only. --port 0 takes any free one.
import { createHmac, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const { values } = parseArgs({
  options: {
    server: { type: "string", default: "http://localhost:8080" },
    key: { type: "string", default: process.env.FOOTFALL_KEY ?? "" },
    port: { type: "string", default: "8090" },
  },
});
const server = values.server.replace(/\/+$/, "");
if (values.key === "") {
  console.error("--key ffk_… (or FOOTFALL_KEY): an admin's key of the server, as in the demo's live page address");
  process.exit(2);
}

async function api(method, path, body) {
  const r = await fetch(server + path, {
    method,
    headers: { Authorization: `Bearer ${values.key}`, "Content-Type": "application/json" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await r.text();
  if (!r.ok) throw new Error(`${method} ${path}: ${r.status} ${text}`);
  return JSON.parse(text);
}

const secret = randomBytes(24).toString("hex");
const id = `example-${randomBytes(4).toString("hex")}`;
const app = await api("POST", "/api/v1/apps", {
  id,
  name: "Example page",
  platform: "web",
  identity_secret: secret,
});
const { features } = await api("GET", "/api/v1/places?format=geojson&limit=200");
const places = features
  .filter((f) => f.geometry.type === "Point" && f.properties.ring !== "near")
  .map(({ geometry: { coordinates }, properties: p }) => ({
    name: p.name ?? p.place,
    lng: coordinates[0],
    lat: coordinates[1],
    radiusM: p.radius,
  }));
const here = dirname(fileURLToPath(import.meta.url));
const bundle = await build({
  entryPoints: [join(here, "main.ts")],
  bundle: true,
  format: "esm",
  target: "es2022",
  write: false,
  logLevel: "error",
});

const config = JSON.stringify({ endpoint: server, appKey: app.key, places });
const pages = {
  "/": ["text/html; charset=utf-8", await readFile(join(here, "index.html"))],
  "/main.js": ["text/javascript; charset=utf-8", bundle.outputFiles[0].contents],
  "/config.json": ["application/json", config],
};
const listener = createServer((req, res) => {
  const url = new URL(req.url, "http://localhost");
  const user = url.searchParams.get("user_id");
  if (url.pathname === "/proof" && user) {
    // A shop's server would first look whether this is who is signed in.
    const hmac = createHmac("sha256", secret).update(`v1\0${id}\0${user}`).digest("hex");
    res.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
    res.end(JSON.stringify({ hmac }));
    return;
  }
  const [type, body] = pages[url.pathname] ?? [];
  res.writeHead(type ? 200 : 404, { "Content-Type": type ?? "text/plain", "Cache-Control": "no-store" });
  res.end(body ?? "not here");
});
listener.listen(Number(values.port), "127.0.0.1", () => {
  console.log(`example: http://localhost:${listener.address().port}/`);
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    listener.close();
    listener.closeAllConnections();
  });
}
