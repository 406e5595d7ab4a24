import { create } from "@bufbuild/protobuf";
import { type Location, LocationSchema } from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { Fix } from "../ports.js";

/** Mean Earth radius, m, as the server's geo package has it. */
const EARTH_RADIUS_M = 6371008.7714;

/** Great-circle distance in metres (haversine). */
export function distanceM(a: { lat: number; lng: number }, b: { lat: number; lng: number }): number {
  const rad = Math.PI / 180;
  const dLat = (b.lat - a.lat) * rad;
  const dLng = (b.lng - a.lng) * rad;
  const h = Math.sin(dLat / 2) ** 2 + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * Math.sin(dLng / 2) ** 2;
  return 2 * EARTH_RADIUS_M * Math.asin(Math.min(1, Math.sqrt(h)));
}

/** A fix as it travels. What the OS gave and cannot be so is left out. */
export function locationOf(f: Fix): Location {
  const l = create(LocationSchema, {
    lat: f.lat,
    lng: f.lng,
    accuracyM: f.accuracyM > 0 && Number.isFinite(f.accuracyM) ? f.accuracyM : 0,
    mocked: f.mocked ?? false,
  });
  if (f.speedMps !== undefined && f.speedMps >= 0) l.speedMps = f.speedMps;
  if (f.bearingDeg !== undefined && f.bearingDeg >= 0 && f.bearingDeg <= 360) l.bearingDeg = f.bearingDeg;
  if (f.altitudeM !== undefined && Number.isFinite(f.altitudeM)) l.altitudeM = f.altitudeM;
  return l;
}
