import { distanceM } from "./geo.js";

/** What the detector looks at. */
export interface StopFix {
  lat: number;
  lng: number;
  accuracyM: number;
  atMs: number;
}

/**
 * StopDetector tells from fixes whether the phone stands, by an anchor: the first fix, and
 * while the phone moves, every fix that lies farther than the radius from the anchor takes
 * its place. The phone has stopped with the first fix within the radius that was made
 * stop_after_s or more after the anchor. It moves again with the first fix that lies
 * farther from the anchor than the radius plus its own accuracy, and this one is the next
 * anchor. Fixes of an accuracy of 1,000 m and worse, and fixes older than the newest that
 * was looked at, are not looked at.
 */
export class StopDetector {
  stopped = false;
  private newest = Number.NEGATIVE_INFINITY;
  private anchor: StopFix | undefined;

  constructor(
    /** 0 detects none. */
    private readonly afterS: number,
    private readonly radiusM: number,
  ) {}

  /** When the present stop began, Unix ms; undefined while the phone moves. */
  get sinceMs(): number | undefined {
    return this.stopped ? this.anchor?.atMs : undefined;
  }

  /** Takes a fix; whether it was looked at. */
  take(f: StopFix): boolean {
    if (f.accuracyM >= 1000 || f.atMs < this.newest) return false;
    this.newest = f.atMs;
    if (this.afterS <= 0) return true;
    if (!this.anchor) {
      this.anchor = f;
      return true;
    }
    const away = distanceM(this.anchor, f);
    if (away > this.radiusM + (this.stopped ? f.accuracyM : 0)) {
      this.stopped = false;
      this.anchor = f;
    } else if (!this.stopped) {
      this.stopped = f.atMs - this.anchor.atMs >= this.afterS * 1000;
    }
    return true;
  }

  /** Something else says that the phone moves. */
  moved(): void {
    this.stopped = false;
    this.anchor = undefined;
  }
}
