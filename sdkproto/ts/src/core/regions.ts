import { create } from "@bufbuild/protobuf";
import {
  type Region,
  RegionEvent_Transition,
  type Regions,
  type RegionsAck,
  RegionsAckSchema,
} from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { Circle, Fix, GeofenceEvent, GeofencePort } from "../ports.js";
import { distanceM } from "./geo.js";
import { BUBBLE_ID } from "./protocol.js";

const transitions = {
  enter: RegionEvent_Transition.ENTER,
  exit: RegionEvent_Transition.EXIT,
  dwell: RegionEvent_Transition.DWELL,
} as const;

/** Of the about 10 s that an OS gives, so much is spent on finding out where we are. */
const LOCATE_MS = 4_000;

function circle(r: Region, bubble: boolean): Circle {
  return {
    id: bubble ? BUBBLE_ID : r.id,
    lat: r.lat,
    lng: r.lng,
    radiusM: r.radiusM,
    onEnter: !bubble && r.onEnter,
    onExit: bubble || r.onExit,
    dwellS: bubble ? 0 : r.dwellS,
  };
}

/**
 * RegionWatch has the OS watch the circles that the server chose, the bubble first, and
 * says what the OS reports.
 */
export class RegionWatch {
  private set: Regions | undefined;
  private enabled = false;
  /** One registration at a time, in order: the last one wins. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly port: GeofencePort | undefined,
    private readonly locate: (timeoutMs: number) => Promise<Fix | undefined>,
    private readonly report: (id: string, t: RegionEvent_Transition, fix: Fix | undefined, atMs: number) => void,
    private readonly trouble: (what: string, e: unknown) => void,
  ) {}

  get active(): boolean {
    return this.port !== undefined;
  }

  get etag(): string {
    return this.set?.etag ?? "";
  }

  /** The set that was kept; it is registered when tracking begins. */
  load(r: Regions): void {
    this.set = r;
  }

  /** Whether circles are watched at all: not while tracking is off. */
  enable(on: boolean): void {
    if (on === this.enabled) return;
    this.enabled = on;
    void this.register();
  }

  /** Registers a new set; what of it the OS took and refused. Undefined: nobody watches. */
  take(r: Regions): Promise<RegionsAck | undefined> {
    this.set = r;
    return this.register();
  }

  private register(): Promise<RegionsAck | undefined> {
    const run = this.turn.then(async () => {
      const { port, set } = this;
      if (!port || !set) return undefined;
      if (!this.enabled) {
        await port.set([]);
        return undefined;
      }
      const circles = set.regions.map((r) => circle(r, false));
      if (set.bubble) circles.unshift(circle(set.bubble, true));
      const failed = await port.set(circles);
      const bad = new Set(failed.map((f) => f.id));
      return create(RegionsAckSchema, {
        etag: set.etag,
        installed: circles.map((c) => c.id).filter((id) => !bad.has(id)),
        failed: failed.map((f) => ({ id: f.id, osCode: f.osCode.slice(0, 100) })),
      });
    });
    const told = run.catch((e: unknown) => {
      this.trouble("register regions", e);
      return undefined;
    });
    this.turn = told;
    return told;
  }

  /**
   * The OS reported something. Where a circle does not say that its place was entered, the
   * phone's position does: it is attached, and asked for once more if it is not inside.
   */
  async heard(e: GeofenceEvent, atMs: number): Promise<void> {
    const region = this.set?.regions.find((r) => r.id === e.id);
    let fix = e.fix;
    if (e.id === BUBBLE_ID) {
      fix ??= await this.locate(LOCATE_MS);
    } else if (region && !region.exact && e.transition !== "exit") {
      fix ??= await this.locate(LOCATE_MS);
      if (!fix || distanceM(fix, region) > region.radiusM) fix = (await this.locate(LOCATE_MS)) ?? fix;
    }
    this.report(e.id, transitions[e.transition], fix, atMs);
  }
}
