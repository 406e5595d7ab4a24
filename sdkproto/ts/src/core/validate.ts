import { toBinary } from "@bufbuild/protobuf";
import {
  type Beacon,
  type Item,
  ItemSchema,
  type Location,
  type Permissions,
  type PushTarget,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import {
  MAX_ID_CHARS,
  MAX_ITEM_BYTES,
  MAX_JWT_CHARS,
  MAX_PROPERTIES_BYTES,
  MAX_PROPERTIES_DEPTH,
  MAX_PUSH_TOKEN_CHARS,
  MAX_TOPICS,
} from "./protocol.js";

/** Kind of an item: the name of its body in snake case. */
export type Kind =
  | "location"
  | "region_event"
  | "event"
  | "identify"
  | "preferences"
  | "consent"
  | "push_token"
  | "lifecycle"
  | "receipt"
  | "permissions"
  | "beacon"
  | "logout";

const KINDS: readonly (readonly [Kind, (i: Item) => unknown])[] = [
  ["location", (i) => i.location],
  ["region_event", (i) => i.regionEvent],
  ["event", (i) => i.event],
  ["identify", (i) => i.identify],
  ["preferences", (i) => i.preferences],
  ["consent", (i) => i.consent],
  ["push_token", (i) => i.pushToken],
  ["lifecycle", (i) => i.lifecycle],
  ["receipt", (i) => i.receipt],
  ["permissions", (i) => i.permissions],
  ["beacon", (i) => i.beacon],
  ["logout", (i) => i.logout],
];

/** Whether the kind is worthless without a believable time. */
export function isObservation(k: Kind): boolean {
  return k === "location" || k === "region_event" || k === "event" || k === "beacon";
}

/** What the server would refuse an item for. */
export interface Fault {
  code: "invalid" | "unsupported" | "too_large";
  /** Path inside the item in snake case, "location.lat"; empty means the whole. */
  field: string;
  reason: string;
}

class Found extends Error {
  constructor(readonly fault: Fault) {
    super(fault.reason);
  }
}

function fail(field: string, reason: string, code: Fault["code"] = "invalid"): never {
  throw new Found({ code, field, reason });
}

/** An item's kind, or what is wrong with it, judged as the server does, apart from its times. */
export function validateItem(item: Item): Kind | Fault {
  try {
    return check(item);
  } catch (e) {
    if (e instanceof Found) return e.fault;
    throw e;
  }
}

function check(item: Item): Kind {
  chars("item_id", item.itemId, 0);
  chars("boot_id", item.bootId, 0);
  if (item.seq === 0n) fail("seq", "must be from 1");
  const size = toBinary(ItemSchema, item).length;
  if (size > MAX_ITEM_BYTES) fail("", `${size} bytes, at most ${MAX_ITEM_BYTES}`, "too_large");
  const kinds = KINDS.filter(([, body]) => body(item) !== undefined);
  const kind = kinds[0]?.[0];
  if (!kind) fail("", "no body that this version knows", "unsupported");
  if (kinds.length > 1) fail("", `${kinds.length} bodies, must be one`);
  const i = item;
  if (i.location) location("location", i.location);
  if (i.regionEvent) {
    chars("region_event.region_id", i.regionEvent.regionId, 1);
    known("region_event.transition", i.regionEvent.transition, 3, true);
    if (i.regionEvent.location) location("region_event.location", i.regionEvent.location);
  }
  if (i.event) {
    name("event.name", i.event.name);
    object("event.properties_json", i.event.propertiesJson);
  }
  if (i.identify) {
    name("identify.user_id", i.identify.userId);
    chars("identify.hmac", i.identify.hmac, 0, 64);
    chars("identify.jwt", i.identify.jwt, 0, MAX_JWT_CHARS);
    object("identify.traits_json", i.identify.traitsJson);
  }
  if (i.preferences) {
    const topics = Object.entries(i.preferences.topics);
    if (topics.length === 0) fail("preferences.topics", "is required");
    if (topics.length > MAX_TOPICS) fail("preferences.topics", `at most ${MAX_TOPICS}, has ${topics.length}`);
    // The same fault of the same item is always named by the same topic.
    topics.sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [topic, attitude] of topics) {
      chars("preferences.topics", topic, 1);
      known("preferences.topics", attitude, 2, false);
    }
  }
  if (i.consent) {
    known("consent.purpose", i.consent.purpose, 5, true);
    chars("consent.text_version", i.consent.textVersion, 0);
    chars("consent.source", i.consent.source, 0);
  }
  if (i.pushToken) pushTarget("push_token", i.pushToken);
  if (i.lifecycle) known("lifecycle.state", i.lifecycle.state, 2, true);
  if (i.receipt) {
    chars("receipt.message_id", i.receipt.messageId, 1);
    known("receipt.state", i.receipt.state, 7, true);
    if (!["", "fcm", "apns", "in_app", "inbox"].includes(i.receipt.via)) {
      fail("receipt.via", 'must be "fcm", "apns", "in_app", "inbox" or empty');
    }
    chars("receipt.action_id", i.receipt.actionId, 0);
  }
  if (i.permissions) permissions("permissions", i.permissions);
  if (i.beacon) beacon(i.beacon);
  return kind;
}

function location(at: string, l: Location): void {
  between(`${at}.lat`, l.lat, -90, 90);
  between(`${at}.lng`, l.lng, -180, 180);
  between(`${at}.accuracy_m`, l.accuracyM, 0, Number.MAX_VALUE);
  if (l.speedMps !== undefined) between(`${at}.speed_mps`, l.speedMps, 0, Number.MAX_VALUE);
  if (l.bearingDeg !== undefined) between(`${at}.bearing_deg`, l.bearingDeg, 0, 360);
  if (l.altitudeM !== undefined) between(`${at}.altitude_m`, l.altitudeM, -Number.MAX_VALUE, Number.MAX_VALUE);
}

/** It does not say the value: positions stand in no log. */
function between(field: string, x: number, lo: number, hi: number): void {
  if (!(x >= lo && x <= hi)) fail(field, "is out of range");
}

function pushTarget(at: string, t: PushTarget): void {
  known(`${at}.provider`, t.provider, 2, true);
  chars(`${at}.token`, t.token, 1, MAX_PUSH_TOKEN_CHARS);
  if (!["", "production", "sandbox"].includes(t.environment)) {
    fail(`${at}.environment`, 'must be "production", "sandbox" or empty');
  }
  chars(`${at}.topic`, t.topic, 0, 255);
}

function permissions(at: string, p: Permissions): void {
  known(`${at}.location`, p.location, 3, false);
  known(`${at}.precision`, p.precision, 2, false);
  known(`${at}.notifications`, p.notifications, 4, false);
  known(`${at}.bluetooth`, p.bluetooth, 2, false);
  known(`${at}.background_refresh`, p.backgroundRefresh, 2, false);
  known(`${at}.battery_optimised`, p.batteryOptimised, 2, false);
}

function beacon(b: Beacon): void {
  const { ibeacon: i, eddystoneUid: e } = b;
  if (i && e) fail("beacon", "two ids, must be one");
  if (i) {
    digits("beacon.ibeacon.uuid", i.uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i);
    for (const [field, n] of [
      ["beacon.ibeacon.major", i.major],
      ["beacon.ibeacon.minor", i.minor],
    ] as const) {
      if (n !== undefined && n > 65535) fail(field, "must be 0 to 65535");
    }
    if (i.minor !== undefined && i.major === undefined) fail("beacon.ibeacon.major", "is required with minor");
  } else if (e) {
    digits("beacon.eddystone_uid.namespace", e.namespace, /^[0-9a-f]{20}$/i);
    digits("beacon.eddystone_uid.instance", e.instance, /^[0-9a-f]{12}$/i);
  } else {
    fail("beacon", "no id of a kind that this version knows", "unsupported");
  }
  known("beacon.proximity", b.proximity, 3, false);
  if (b.rssiDbm !== undefined) between("beacon.rssi_dbm", b.rssiDbm, -127, 20);
  if (b.distanceM !== undefined) between("beacon.distance_m", b.distanceM, 0, Number.MAX_VALUE);
  if (b.location) location("beacon.location", b.location);
}

function digits(field: string, s: string, shape: RegExp): void {
  if (s === "") fail(field, "is required");
  if (!shape.test(s)) fail(field, "must be hexadecimal digits of the right number");
}

/** Enums here have no holes: 0 to last. */
function known(field: string, value: number, last: number, required: boolean): void {
  if (value === 0 && required) fail(field, "is required");
  if (value < 0 || value > last) fail(field, `a value that this version does not know: ${value}`, "unsupported");
}

function chars(field: string, s: string, lo: number, hi: number = MAX_ID_CHARS): void {
  if (s === "" && lo > 0) fail(field, "is required");
  // Characters are code points; a string within the limit in UTF-16 units is within it.
  if (s.length > hi && [...s].length > hi) fail(field, `at most ${hi} characters`);
}

function name(field: string, s: string): void {
  chars(field, s, 1);
  if (/\p{Cc}/u.test(s)) fail(field, "must not hold control characters");
}

/** Checks that s is empty or one JSON object within its limits. */
function object(field: string, s: string): void {
  if (s === "") return;
  const bytes = new TextEncoder().encode(s).length;
  if (bytes > MAX_PROPERTIES_BYTES) fail(field, `at most ${MAX_PROPERTIES_BYTES} bytes, has ${bytes}`);
  let level = 0;
  let inString = false;
  for (let i = 0; i < s.length; i++) {
    const c = s[i];
    if (inString && c === "\\") i++;
    else if (c === '"') inString = !inString;
    else if (inString) continue;
    else if (c === "{" || c === "[") {
      if (++level > MAX_PROPERTIES_DEPTH) fail(field, `nested deeper than ${MAX_PROPERTIES_DEPTH}`);
    } else if (c === "}" || c === "]") level--;
  }
  let v: unknown;
  try {
    v = JSON.parse(s);
  } catch {
    fail(field, "is not JSON");
  }
  if (typeof v !== "object" || v === null || Array.isArray(v)) fail(field, "must be one JSON object");
}
