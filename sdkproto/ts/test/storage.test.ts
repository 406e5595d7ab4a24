// One contract for every store.
import assert from "node:assert/strict";
import { test } from "node:test";
import { IDBFactory } from "fake-indexeddb";
import { PreferencesStorage } from "../src/adapters/capacitor.js";
import { IndexedDBStorage } from "../src/adapters/idb.js";
import { MemoryStorage } from "../src/adapters/testing.js";
import type { StoragePort } from "../src/ports.js";

/** Preferences as the plugin has them; it fails at the calls that the test counts down to. */
class Preferences {
  readonly kept = new Map<string, string>();
  failAfter = Number.POSITIVE_INFINITY;
  async get({ key }: { key: string }) {
    return { value: this.kept.get(key) ?? null };
  }
  async set({ key, value }: { key: string; value: string }) {
    if (--this.failAfter < 0) throw new Error("the disk is full");
    this.kept.set(key, value);
  }
  async remove({ key }: { key: string }) {
    this.kept.delete(key);
  }
  async keys() {
    return { keys: [...this.kept.keys()] };
  }
}

const bytes = (...b: number[]) => Uint8Array.from(b);
const plain = (items: { seq: number; body: Uint8Array }[]) => items.map((i) => [i.seq, ...i.body]);

const stores: Record<string, () => () => StoragePort> = {
  memory: () => {
    const s = new MemoryStorage();
    return () => s;
  },
  IndexedDB: () => {
    const idb = new IDBFactory();
    return () => new IndexedDBStorage("footfall.test", idb);
  },
  preferences: () => {
    const p = new Preferences();
    return () => new PreferencesStorage(p);
  },
};

for (const [name, make] of Object.entries(stores)) {
  test(`${name}: what was kept is there after a restart`, async () => {
    const open = make();
    let s = open();
    assert.deepEqual(await s.load(), { items: [], values: new Map(), nextSeq: 1 });
    assert.deepEqual(await s.append([bytes(1), bytes(2), bytes(3)]), [1, 2, 3]);
    assert.deepEqual(await s.append([bytes(255, 0)]), [4]);
    await s.remove([2, 4]);
    await s.set("token", bytes(9, 8));
    await s.set("gone", bytes(7));
    await s.set("gone", undefined);
    s.close();
    s = open();
    const saved = await s.load();
    assert.deepEqual(plain(saved.items), [
      [1, 1],
      [3, 3],
    ]);
    assert.deepEqual(
      [...saved.values].map(([k, v]) => [k, ...v]),
      [["token", 9, 8]],
    );
    assert.equal(saved.nextSeq, 5);
    assert.deepEqual([...((await s.get("token")) ?? [])], [9, 8]);
    assert.equal(await s.get("gone"), undefined);
    // A seq is never given twice, though nothing is left that has it.
    await s.remove([1, 3]);
    s.close();
    s = open();
    await s.load();
    assert.deepEqual(await s.append([bytes(5)]), [5]);
    s.close();
  });

  test(`${name}: items get new seqs above what the server knows`, async () => {
    const open = make();
    let s = open();
    await s.load();
    await s.append([bytes(1), bytes(2)]);
    // The next is above already: nothing was lost.
    assert.deepEqual(plain(await s.renumber(2)), [
      [1, 1],
      [2, 2],
    ]);
    assert.deepEqual(plain(await s.renumber(3)), [
      [4, 1],
      [5, 2],
    ]);
    assert.deepEqual(plain(await s.renumber(100)), [
      [101, 1],
      [102, 2],
    ]);
    s.close();
    s = open();
    const saved = await s.load();
    assert.deepEqual(plain(saved.items), [
      [101, 1],
      [102, 2],
    ]);
    assert.equal(saved.nextSeq, 103);
    s.close();
  });
}

test("two pages of one origin never get the same seq", async () => {
  const idb = new IDBFactory();
  const a = new IndexedDBStorage("footfall.test", idb);
  const b = new IndexedDBStorage("footfall.test", idb);
  await Promise.all([a.load(), b.load()]);
  const given = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 ? a : b).append([bytes(i), bytes(i)])));
  const seqs = given.flat().sort((x, y) => x - y);
  assert.deepEqual(
    seqs,
    Array.from({ length: 80 }, (_, i) => i + 1),
  );
  for (const [first = 0, second] of given) assert.equal(second, first + 1);
  a.close();
  b.close();
});

for (const [name, make] of Object.entries(stores)) {
  test(`${name}: of two that claim a key at once one has it, and both know`, async () => {
    const open = make();
    const [a, b] = [open(), open()];
    await Promise.all([a.load(), b.load()]);
    const got = name === "preferences" ? [a, a] : [a, b]; // two ports of one plugin know nothing of each other
    const [x, y] = await Promise.all(got.map((s, i) => s.claim("install", bytes(i + 1))));
    assert.ok(x && y && [1, 2].includes(x[0] ?? 0));
    assert.deepEqual([...x], [...y]);
    assert.deepEqual([...((await a.get("install")) ?? [])], [...x]);
    a.close();
    b.close();
  });
}

test("preferences: of an append that failed nothing is left, and its seqs are not given again", async () => {
  const p = new Preferences();
  const s = new PreferencesStorage(p);
  await s.load();
  p.failAfter = 2; // next, the first item
  await assert.rejects(s.append([bytes(1), bytes(2)]), /disk is full/);
  p.failAfter = Number.POSITIVE_INFINITY;
  assert.deepEqual(await s.append([bytes(1), bytes(2)]), [3, 4]);
  assert.deepEqual(plain((await new PreferencesStorage(p).load()).items), [
    [3, 1],
    [4, 2],
  ]);
});
