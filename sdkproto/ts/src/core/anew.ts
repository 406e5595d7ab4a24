import type { ClockPort, StoragePort } from "../ports.js";

/** Keys of the store: the id in use, the one before it until it has a token, the next one. */
const INSTALL = "install";
export const FORMER = "former";
const NEXT = "next";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Keeps the id with which the next start begins anew: the server has refused this install
 * without a token, which it has and the phone does not know any more (README of the
 * protocol, "A lost token").
 */
export async function loseInstall(storage: StoragePort, clock: ClockPort): Promise<void> {
  if (await storage.get("token")) return; // another page of this origin has got one
  await storage.claim(NEXT, encoder.encode(randomId(clock.random)));
}

/**
 * The id of this install; a new one at the first start. After a loss all that concerned the
 * lost install and its person is forgotten, in the store and in values, and what waits goes
 * on under the next id. A start that is killed meanwhile is done again by the next one.
 */
export async function installIdOf(
  storage: StoragePort,
  values: Map<string, Uint8Array>,
  clock: ClockPort,
): Promise<string> {
  const keep = async (key: string, value: Uint8Array | undefined) => {
    await storage.set(key, value);
    if (value) values.set(key, value);
    else values.delete(key);
  };
  const next = values.get(NEXT);
  if (next) {
    const install = values.get(INSTALL);
    if (decoder.decode(install) !== decoder.decode(next)) {
      for (const key of ["token", "resume", "inbox", "waiting"]) await keep(key, undefined);
      await keep(FORMER, install);
      await keep(INSTALL, next);
    }
    await keep(NEXT, undefined);
  }
  const known = decoder.decode(values.get(INSTALL));
  return known || decoder.decode(await storage.claim(INSTALL, encoder.encode(randomId(clock.random))));
}

/** 32 hexadecimal digits; crypto's where there is one. */
function randomId(random: () => number): string {
  const b = new Uint8Array(16);
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(b);
  else for (let i = 0; i < b.length; i++) b[i] = Math.floor(random() * 256);
  return Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
}
