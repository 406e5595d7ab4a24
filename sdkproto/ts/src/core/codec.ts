import { type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { type Frame, FrameSchema } from "../gen/footfall/sdk/v1/sdk_pb.js";
import { MAX_FRAME_BYTES, MAX_FRAMES } from "./protocol.js";

/**
 * One encoding of the protocol: `protobuf` here, or `json` of "@footfall/sdk/json", which
 * is an entry of its own because it costs 10 KB.
 */
export interface Codec {
  /** Its name in the websocket handshake. */
  readonly subprotocol: string;
  /** Its name on the POSTs. */
  readonly contentType: string;
  /** Encodes a frame as it stands in a websocket message. */
  frame(f: Frame): Uint8Array;
  /** Joins encoded frames to one websocket message: bytes for binary, a string for text. */
  join(frames: readonly Uint8Array[]): Uint8Array | string;
  /** Bytes that join adds between two frames. */
  readonly gap: number;
  /**
   * Reads a websocket message. Unknown fields are ignored. Frames before a faulty one are
   * returned with the error; its code is 107 or 108.
   */
  frames(msg: Uint8Array | string): { frames: Frame[]; error?: CodecError };
  /** Encodes the body of a POST. */
  encode<D extends DescMessage>(schema: D, m: MessageShape<D>): Uint8Array;
  /** Reads the body of an answer. Throws a CodecError. */
  decode<D extends DescMessage>(schema: D, body: Uint8Array): MessageShape<D>;
}

/** What cannot be decoded: code 107 (malformed) or 108 (too large). */
export class CodecError extends Error {
  readonly code: 107 | 108;
  constructor(code: 107 | 108, text: string) {
    super(`footfall: ${text}`);
    this.name = "CodecError";
    this.code = code;
  }
}

/** Appends n as a varint, at most 32 bits. */
function varint(out: number[], n: number): void {
  while (n > 127) {
    out.push((n & 127) | 128);
    n >>>= 7;
  }
  out.push(n);
}

/** The binary encoding: each frame with its length before it as a varint. */
export const protobuf: Codec = {
  subprotocol: "sdkproto.v1.pb",
  contentType: "application/x-protobuf",
  gap: 0,
  frame(f) {
    const body = toBinary(FrameSchema, f);
    const head: number[] = [];
    varint(head, body.length);
    const out = new Uint8Array(head.length + body.length);
    out.set(head);
    out.set(body, head.length);
    return out;
  },
  join(frames) {
    if (frames.length === 1 && frames[0]) return frames[0];
    const out = new Uint8Array(frames.reduce((n, f) => n + f.length, 0));
    let at = 0;
    for (const f of frames) {
      out.set(f, at);
      at += f.length;
    }
    return out;
  },
  frames(msg) {
    const frames: Frame[] = [];
    const fail = (code: 107 | 108, text: string) => ({ frames, error: new CodecError(code, text) });
    if (typeof msg === "string") return fail(107, "a text message on a binary subprotocol");
    if (msg.length > MAX_FRAME_BYTES) return fail(108, `${msg.length} bytes, at most ${MAX_FRAME_BYTES}`);
    let at = 0;
    while (at < msg.length) {
      if (frames.length === MAX_FRAMES) return fail(108, `more than ${MAX_FRAMES} frames in one message`);
      let n = 0;
      let shift = 0;
      let byte = 128;
      while (byte > 127) {
        // A length of more than four bytes is beyond every limit.
        if (at >= msg.length || shift > 21) return fail(107, `frame ${frames.length} is cut short`);
        byte = msg[at++] ?? 0;
        n |= (byte & 127) << shift;
        shift += 7;
      }
      if (n > msg.length - at) return fail(107, `frame ${frames.length} is cut short`);
      try {
        frames.push(fromBinary(FrameSchema, msg.subarray(at, at + n), READ));
      } catch {
        return fail(107, `frame ${frames.length} is not a protobuf Frame`);
      }
      at += n;
    }
    return { frames };
  },
  encode: (schema, m) => toBinary(schema, m),
  decode(schema, body) {
    try {
      return fromBinary(schema, body, READ);
    } catch {
      throw new CodecError(107, `not a protobuf ${schema.name}`);
    }
  },
};

const READ = { readUnknownFields: false };

const BODIES = [
  "hello",
  "helloOk",
  "batch",
  "ack",
  "regions",
  "regionsAck",
  "message",
  "claim",
  "grant",
  "error",
  "ping",
  "pong",
  "inboxSync",
  "inbox",
  "config",
  "tokenRefresh",
  "newToken",
  "goaway",
] as const;

/** Name of a frame's one body; undefined when it has none that this version knows, or two. */
export function bodyOf(f: Frame): (typeof BODIES)[number] | undefined {
  let found: (typeof BODIES)[number] | undefined;
  for (const b of BODIES) {
    if (f[b] === undefined) continue;
    if (found) return undefined;
    found = b;
  }
  return found;
}
