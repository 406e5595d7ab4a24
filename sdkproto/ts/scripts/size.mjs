// Bundles what an app that calls init gets, minified and gzipped, and says its size.
// Exit status 1 above the limit. Usage: node scripts/size.mjs [--json]
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT_KB = 40;
const here = join(dirname(fileURLToPath(import.meta.url)), "..");
const sizes = {};
for (const [name, contents] of [
  ["init", 'import { init } from "./src/index.ts"; globalThis.footfall = init({ endpoint: "", appKey: "" });'],
  ["everything", 'export * from "./src/index.ts";'],
  ["with json", 'export * from "./src/index.ts"; export * from "./src/json.ts";'],
  ["with capacitor", 'export * from "./src/index.ts"; export * from "./src/adapters/capacitor.ts";'],
]) {
  const r = await build({
    stdin: { contents, resolveDir: here, loader: "ts" },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    logLevel: "error",
  });
  const code = r.outputFiles[0].contents;
  sizes[name] = { bytes: code.length, gzip: gzipSync(code, { level: 9 }).length };
}
if (process.argv.includes("--json")) console.log(JSON.stringify(sizes));
else {
  for (const [name, s] of Object.entries(sizes)) {
    console.log(
      `${name.padEnd(14)} ${(s.gzip / 1000).toFixed(1)} KB gzipped, ${(s.bytes / 1000).toFixed(0)} KB minified`,
    );
  }
}
if (sizes.everything.gzip > LIMIT_KB * 1000) {
  console.error(`more than ${LIMIT_KB} KB gzipped`);
  process.exitCode = 1;
}
