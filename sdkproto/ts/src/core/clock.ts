import type { Batch, Item } from "../gen/footfall/sdk/v1/sdk_pb.js";

/** How a corrected time was found; see sdkproto/README.md, "Clocks". */
export type How = "mono" | "sent" | "device" | "received" | "clamped" | "skewed" | "absurd";

const MAX_AGE_MS = 30n * 24n * 3600_000n;
const MAX_SKEW_MS = 5n * 60_000n;
const MAX_FUTURE_MS = 24n * 3600_000n;

/** 0 to the year 9999. */
const plausible = (ms: bigint) => ms >= 0n && ms < 253402300800000n;

/**
 * When an item happened (Unix ms), as the server judges it by its batch and by when it
 * received it. The SDK never sends it; it is here for tests, and for who shows times.
 */
export function correctedTime(
  item: Pick<Item, "bootId" | "monoMs" | "occurredMs">,
  batch: Pick<Batch, "bootId" | "sentMonoMs" | "sentMs">,
  receivedMs: bigint,
): { atMs: bigint; how: How } {
  let age: bigint;
  let how: How;
  if (item.bootId !== "" && item.bootId === batch.bootId && item.monoMs > 0n && item.monoMs <= batch.sentMonoMs) {
    age = batch.sentMonoMs - item.monoMs;
    how = "mono";
  } else if (item.occurredMs === 0n) {
    return { atMs: receivedMs, how: "received" };
  } else {
    const sent = batch.sentMs === 0n ? receivedMs : batch.sentMs;
    how = batch.sentMs === 0n ? "device" : "sent";
    if (!plausible(sent) || !plausible(item.occurredMs)) return { atMs: receivedMs, how: "absurd" };
    age = sent - item.occurredMs;
  }
  if (age >= 0n && age <= MAX_AGE_MS) return { atMs: receivedMs - age, how };
  if (age < 0n && age >= -MAX_SKEW_MS) return { atMs: receivedMs, how: "clamped" };
  if (age < 0n && age >= -MAX_FUTURE_MS) return { atMs: receivedMs, how: "skewed" };
  return { atMs: receivedMs, how: "absurd" };
}
