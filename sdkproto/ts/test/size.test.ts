import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { packageDir } from "./where.js";

test("the whole web entry is at most 40 KB gzipped", (t) => {
  const out = execFileSync(process.execPath, ["scripts/size.mjs", "--json"], { cwd: packageDir, encoding: "utf8" });
  const sizes = JSON.parse(out) as Record<string, { gzip: number }>;
  const everything = sizes.everything?.gzip ?? 0;
  t.diagnostic(`${(everything / 1000).toFixed(1)} KB gzipped`);
  assert.ok(everything > 10_000 && everything <= 40_000);
});
