import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type BatchSchema, RejectSchema } from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { ClockPort } from "../ports.js";
import type { Codec } from "./codec.js";
import { textOf } from "./errors.js";
import type { Entry, Lane, Queue, Settled } from "./queue.js";

/** Makes batches of what waits in the queue, for a socket or a POST. */
export class Batches {
  constructor(
    private readonly queue: Queue,
    private readonly clock: ClockPort,
    private readonly codec: Codec,
    private readonly finish: (s: Settled) => void,
  ) {}

  /**
   * Takes at most n items that fit limit when encoded. Items that no message can carry are
   * refused on the way.
   */
  encode(
    n: number,
    limit: number,
    lane: Lane,
    encode: (b: MessageInitShape<typeof BatchSchema>) => Uint8Array,
  ): { batchId: string; entries: Entry[]; bytes: Uint8Array } | undefined {
    let size = limit - 256; // batch and frame around the items
    if (this.codec.gap > 0) size = Math.floor(size / 3); // JSON is longer; what does not fit is halved
    for (;;) {
      const es = this.queue.take(n, size, lane);
      const first = es[0];
      if (!first) return undefined;
      const batch = this.of(es);
      let bytes: Uint8Array | undefined;
      let why = `more than ${limit} bytes`;
      try {
        bytes = encode(batch);
        if (bytes.length <= limit) {
          for (const e of es) e.attempts++;
          return { batchId: batch.batchId ?? "", entries: es, bytes };
        }
      } catch (e) {
        why = `cannot be encoded: ${textOf(e)}`;
      }
      this.queue.land(es, lane);
      if (es.length > 1) {
        n = es.length >> 1;
        continue;
      }
      const reject = create(RejectSchema, {
        seq: first.item.seq,
        itemId: first.item.itemId,
        code: bytes ? "too_large" : "invalid",
        reason: why,
      });
      this.finish(this.queue.settle(es, [reject], lane));
    }
  }

  of(es: readonly Entry[]) {
    const { clock } = this;
    return {
      batchId: this.queue.batchId(),
      attempt: es.reduce((n, e) => Math.max(n, e.attempts + 1), 0),
      sentMs: BigInt(Math.round(clock.now())),
      sentMonoMs: clock.bootId === "" ? 0n : BigInt(Math.round(clock.mono())),
      bootId: clock.bootId,
      items: es.map((e) => e.item),
    };
  }
}
