import { type Config, Platform, type Tracking, Tracking_Preset } from "../gen/footfall/sdk/v1/sdk_pb.js";
import type { Accuracy, ClockPort, Fix, LocationPort } from "../ports.js";
import { StopDetector } from "./stops.js";

/** How the SDK follows the phone; see sdkproto/README.md, "Tracking". */
export type Preset = "off" | "efficient" | "responsive" | "continuous";

export const PRESETS: Readonly<Record<Preset, Tracking_Preset>> = {
  off: Tracking_Preset.OFF,
  efficient: Tracking_Preset.EFFICIENT,
  responsive: Tracking_Preset.RESPONSIVE,
  continuous: Tracking_Preset.CONTINUOUS,
};

/** What a preset means. Units: s, m. */
export interface Plan {
  /** Between two fixes while the phone moves; 0 asks for none. */
  movingIntervalS: number;
  /** Likewise while it stands. */
  stoppedIntervalS: number;
  /** At most so often fixes are sent; 0 sends each at once. */
  syncIntervalS: number;
  accuracy: Accuracy;
  /** 0 detects no stop. */
  stopAfterS: number;
  stopRadiusM: number;
  visits: boolean;
  significantChanges: boolean;
  foregroundService: boolean;
}

/** By the number of Tracking.Accuracy. */
const accuracies: readonly Accuracy[] = ["medium", "low", "medium", "high"];

function plan(
  moving: number,
  stopped: number,
  sync: number,
  accuracy: Accuracy,
  stopAfterS: number,
  more: Partial<Plan> = {},
): Plan {
  return {
    movingIntervalS: moving,
    stoppedIntervalS: stopped,
    syncIntervalS: sync,
    accuracy,
    stopAfterS,
    stopRadiusM: 70,
    visits: false,
    significantChanges: false,
    foregroundService: false,
    ...more,
  };
}

/**
 * What a preset means on a platform, with what a config says otherwise. A web page has the
 * numbers of Android: no OS reports visits to it. Undefined means off.
 */
export function planOf(preset: Preset, platform: Platform, config: Config | undefined): Plan | undefined {
  const ios = platform === Platform.IOS;
  let p: Plan;
  switch (preset) {
    case "off":
      return undefined;
    case "efficient":
      p = ios ? plan(0, 0, 0, "medium", 0, { visits: true }) : plan(1200, 3600, 140, "medium", 140, { visits: true });
      break;
    case "responsive":
      p = plan(150, 0, 20, "medium", 140, { visits: true, significantChanges: true });
      break;
    case "continuous":
      p = plan(30, 30, 20, "high", 140, { foregroundService: true });
  }
  const other = config?.presets.find((t) => t.preset === PRESETS[preset]);
  return other ? { ...p, ...overrides(other) } : p;
}

function overrides(t: Tracking): Partial<Plan> {
  const accuracy = t.accuracy ? accuracies[t.accuracy] : undefined;
  const all = {
    movingIntervalS: t.movingIntervalS,
    stoppedIntervalS: t.stoppedIntervalS,
    syncIntervalS: t.syncIntervalS,
    accuracy,
    stopAfterS: t.stopAfterS,
    stopRadiusM: t.stopRadiusM,
    visits: t.visits,
    significantChanges: t.significantChanges,
    foregroundService: t.foregroundService,
  };
  return Object.fromEntries(Object.entries(all).filter(([, v]) => v !== undefined)) as Partial<Plan>;
}

/**
 * The preset in force: the config's in place of the app's, also when the app did not start
 * tracking; but an app that has stopped it stays stopped.
 */
export function presetInForce(app: Preset | "stopped" | undefined, config: Config | undefined): Preset {
  if (app === "stopped") return "off";
  const wanted = config?.tracking ?? Tracking_Preset.UNSPECIFIED;
  const byServer = (Object.keys(PRESETS) as Preset[]).find((p) => PRESETS[p] === wanted);
  return byServer ?? app ?? "off";
}

/** Timers are late and positions early: a fix this much too soon is on time. */
const SLACK_MS = 100;

/** Tracker asks for positions as the plan says, and hands on those that are to be sent. */
export class Tracker {
  private plan: Plan | undefined;
  private stops = new StopDetector(0, 0);
  private unwatch: (() => void) | undefined;
  private watching = "";
  private keptAt = Number.NEGATIVE_INFINITY;
  private newestMs = Number.NEGATIVE_INFINITY;
  /** The newest fix of all. */
  last: Fix | undefined;

  constructor(
    private readonly location: LocationPort | undefined,
    private readonly clock: ClockPort,
    /** Something else, such as geofences, tells when a phone that stood moves again. */
    private readonly othersTell: boolean,
    private readonly send: (f: Fix, lingerMs: number) => void,
    private readonly trouble: (what: string, e: unknown) => void,
  ) {}

  /** Follows another plan from now on; undefined: none. */
  follow(p: Plan | undefined): void {
    if (JSON.stringify(p) === JSON.stringify(this.plan)) return;
    this.plan = p;
    this.stops = new StopDetector(p?.stopAfterS ?? 0, p?.stopRadiusM ?? 0);
    this.watch();
  }

  get stopped(): boolean {
    return this.stops.stopped;
  }

  /** Something else than a fix says that the phone moves: the OS reported a region. */
  moved(): void {
    this.stops.moved();
    this.watch();
  }

  /** One position of now; undefined when there is none. */
  async current(timeoutMs: number): Promise<Fix | undefined> {
    if (!this.location || !this.plan) return undefined;
    try {
      return await this.location.current({ accuracy: this.plan.accuracy, timeoutMs });
    } catch (e) {
      this.trouble("ask for a position", e);
      return undefined;
    }
  }

  /** How often positions are wanted now, s; 0 means not at all. */
  private intervalS(): number {
    const p = this.plan;
    if (!p) return 0;
    if (!this.stops.stopped) return p.movingIntervalS;
    // Where nothing else tells that the phone moves again, its fixes must.
    return p.stoppedIntervalS || (this.othersTell ? 0 : p.movingIntervalS);
  }

  private watch(): void {
    const p = this.plan;
    const intervalMs = this.intervalS() * 1000;
    const want =
      p && (intervalMs > 0 || p.visits || p.significantChanges)
        ? {
            intervalMs,
            accuracy: p.accuracy,
            foregroundService: p.foregroundService,
            visits: p.visits,
            significantChanges: p.significantChanges,
          }
        : undefined;
    const key = JSON.stringify(want) ?? "";
    if (key === this.watching) return;
    this.watching = key;
    this.unwatch?.();
    this.unwatch = undefined;
    if (!want || !this.location) return;
    this.unwatch = this.location.watch(
      want,
      (f) => this.take(f),
      (e) => this.trouble("watch the position", e),
    );
  }

  private take(f: Fix): void {
    const p = this.plan;
    if (!p || f.atMs < this.newestMs) return;
    // Where about a kilometre was asked for, such a fix is what there is.
    if (f.accuracyM >= 1000 && p.accuracy !== "low") return;
    this.newestMs = f.atMs;
    this.last = f;
    const was = this.stops.stopped;
    this.stops.take(f);
    const now = this.clock.mono();
    const changed = this.stops.stopped !== was;
    // The OS may report more often than it was asked to: the server needs the moments of
    // stopping and leaving, and otherwise what the plan says.
    if (!changed && now - this.keptAt < this.intervalS() * 1000 - SLACK_MS) return;
    this.keptAt = now;
    this.send(f, p.syncIntervalS * 1000);
    if (changed) this.watch();
  }

  close(): void {
    this.follow(undefined);
  }
}
