import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

function find(): string {
  // The compiled test is in build/test.
  for (let d = dirname(fileURLToPath(import.meta.url)); d !== dirname(d); d = dirname(d)) {
    if (existsSync(join(d, "go.mod"))) return d;
  }
  throw new Error("go.mod is in no folder above");
}

/** The root of the repository. */
export const root = find();
export const packageDir = join(root, "sdkproto/ts");
export const vectorsDir = join(root, "sdkproto/vectors");
