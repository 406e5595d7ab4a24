/**
 * The JSON encoding of the protocol, for looking at what travels:
 * `init({ …, codec: json })`.
 */
import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { type Codec, CodecError } from "./core/codec.js";
import { MAX_FRAME_BYTES, MAX_FRAMES } from "./core/protocol.js";
import { FrameSchema } from "./gen/footfall/sdk/v1/sdk_pb.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const READ = { ignoreUnknownFields: true };

/** protojson: lowerCamelCase names, 64-bit numbers as strings, one frame per line. */
export const json: Codec = {
  subprotocol: "sdkproto.v1.json",
  contentType: "application/json",
  gap: 1,
  frame: (f) => encoder.encode(toJsonString(FrameSchema, f)),
  join: (frames) => frames.map((f) => decoder.decode(f)).join("\n"),
  frames(msg) {
    const out: ReturnType<Codec["frames"]> = { frames: [] };
    if (typeof msg !== "string") msg = decoder.decode(msg);
    if (msg.length > MAX_FRAME_BYTES) {
      return { ...out, error: new CodecError(108, `${msg.length} characters, at most ${MAX_FRAME_BYTES}`) };
    }
    for (const line of msg.split("\n")) {
      if (line.trim() === "") continue;
      if (out.frames.length === MAX_FRAMES) {
        return { ...out, error: new CodecError(108, `more than ${MAX_FRAMES} frames in one message`) };
      }
      try {
        out.frames.push(fromJsonString(FrameSchema, line, READ));
      } catch {
        return { ...out, error: new CodecError(107, `frame ${out.frames.length} is not a JSON Frame`) };
      }
    }
    return out;
  },
  encode: (schema, m) => encoder.encode(toJsonString(schema, m)),
  decode(schema, body) {
    try {
      return fromJsonString(schema, decoder.decode(body), READ);
    } catch {
      throw new CodecError(107, `not a JSON ${schema.name}`);
    }
  },
};
