import type { StoragePort, StoredItem } from "../ports.js";

const ITEMS = "items";
const VALUES = "values";
const NEXT = "next";

/** The promise of a request. */
function done<T>(r: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    r.onsuccess = () => resolve(r.result);
    r.onerror = () => reject(r.error ?? new Error("footfall: IndexedDB failed"));
  });
}

/**
 * A store in IndexedDB. Items and the next seq are written in one strict transaction: it
 * is complete when the OS says that it is on disk. All pages of an origin share it, and a
 * transaction gives each seq once.
 */
export class IndexedDBStorage implements StoragePort {
  private db: Promise<IDBDatabase> | undefined;

  constructor(
    private readonly name: string,
    private readonly idb: IDBFactory = globalThis.indexedDB,
  ) {}

  private open(): Promise<IDBDatabase> {
    this.db ??= new Promise<IDBDatabase>((resolve, reject) => {
      const r = this.idb.open(this.name, 1);
      r.onupgradeneeded = () => {
        r.result.createObjectStore(ITEMS, { keyPath: "seq" });
        r.result.createObjectStore(VALUES);
      };
      r.onsuccess = () => {
        const db = r.result;
        // The browser may close it, or another page delete it: it is opened again.
        db.onclose = db.onversionchange = () => {
          db.close();
          this.db = undefined;
        };
        resolve(db);
      };
      r.onerror = () => reject(r.error ?? new Error("footfall: IndexedDB cannot be opened"));
      r.onblocked = () => reject(new Error("footfall: IndexedDB is blocked"));
    }).catch((e: unknown) => {
      this.db = undefined;
      throw e;
    });
    return this.db;
  }

  /** Runs one transaction; what it returns counts only when the transaction is complete. */
  private async run<T>(
    mode: IDBTransactionMode,
    work: (items: IDBObjectStore, values: IDBObjectStore) => Promise<T>,
  ): Promise<T> {
    const db = await this.open();
    const tx = db.transaction([ITEMS, VALUES], mode, { durability: "strict" });
    const complete = new Promise<void>((resolve, reject) => {
      tx.oncomplete = () => resolve();
      tx.onabort = () => reject(tx.error ?? new Error("footfall: IndexedDB transaction aborted"));
    });
    complete.catch(() => undefined); // work tells first, where it fails
    let out: T;
    try {
      out = await work(tx.objectStore(ITEMS), tx.objectStore(VALUES));
    } catch (e) {
      try {
        tx.abort();
      } catch {
        // It has ended by itself.
      }
      throw e;
    }
    await complete;
    return out;
  }

  load(): ReturnType<StoragePort["load"]> {
    return this.run("readonly", async (items, values) => {
      const [all, keys, kept] = await Promise.all([
        done(items.getAll() as IDBRequest<StoredItem[]>),
        done(values.getAllKeys()),
        done(values.getAll() as IDBRequest<unknown[]>),
      ]);
      const map = new Map<string, Uint8Array>();
      let nextSeq = 1;
      keys.forEach((key, i) => {
        const v = kept[i];
        if (key === NEXT) nextSeq = v as number;
        else map.set(String(key).slice(2), v as Uint8Array); // without "v."
      });
      return { items: all, values: map, nextSeq };
    });
  }

  append(bodies: readonly Uint8Array[]): Promise<number[]> {
    return this.run("readwrite", async (items, values) => {
      const first = ((await done(values.get(NEXT))) as number | undefined) ?? 1;
      for (const [i, body] of bodies.entries()) items.put({ seq: first + i, body } satisfies StoredItem);
      await done(values.put(first + bodies.length, NEXT));
      return bodies.map((_, i) => first + i);
    });
  }

  remove(seqs: readonly number[]): Promise<void> {
    return this.run("readwrite", async (items) => {
      for (const seq of seqs) items.delete(seq);
    });
  }

  renumber(above: number): Promise<StoredItem[]> {
    return this.run("readwrite", async (items, values) => {
      const all = await done(items.getAll() as IDBRequest<StoredItem[]>);
      const next = ((await done(values.get(NEXT))) as number | undefined) ?? 1;
      if (next > above) return all;
      items.clear();
      const anew = all.map((s, i) => ({ seq: above + 1 + i, body: s.body }));
      for (const s of anew) items.put(s);
      await done(values.put(above + 1 + anew.length, NEXT));
      return anew;
    });
  }

  set(key: string, value: Uint8Array | undefined): Promise<void> {
    return this.run("readwrite", async (_, values) => {
      if (value === undefined) await done(values.delete(`v.${key}`));
      else await done(values.put(value, `v.${key}`));
    });
  }

  claim(key: string, value: Uint8Array): Promise<Uint8Array> {
    return this.run("readwrite", async (_, values) => {
      const kept = await done(values.get(`v.${key}`) as IDBRequest<Uint8Array | undefined>);
      if (kept === undefined) await done(values.put(value, `v.${key}`));
      return kept ?? value;
    });
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return this.run("readonly", (_, values) => done(values.get(`v.${key}`) as IDBRequest<Uint8Array | undefined>));
  }

  close(): void {
    this.db?.then((db) => db.close()).catch(() => undefined);
    this.db = undefined;
  }
}
