// What the transmitter concludes from test trains, from trains in service, and from what the receiver finds.

const TEST_BITS = 200, TEST_TRAINS = 10, WINDOW_BITS = 2000;
const FAINT_SHARE = 0.02, DARK_TRAINS = 3, SLIPPED = 0.35, BETTER = 0.01, REFLECTED_PHOTONS = 1e-6;
const POWER_TRAINS = 4, POWER_OFF = 0.005, MOST_TRIM = 4;

/** What test trains have shown so far. A link that left for its errors has to be better, over more bits, to come back. */
export class Tally {
  trains = 0; clicks = 0; sifted = 0; errors = 0; #abort; #least;

  constructor(abortProb, reason) {
    this.#abort = reason === "qber" ? Math.max(abortProb - BETTER, abortProb / 2) : abortProb;
    this.#least = reason === "qber" ? WINDOW_BITS : TEST_BITS;
  }

  get needsMore() {
    return this.clicks > 0 && this.sifted < this.#least && this.trains < (TEST_TRAINS * this.#least) / TEST_BITS;
  }

  get qber() { return this.sifted ? this.errors / this.sifted : 0.5; }

  /** Why the link cannot be put into service; empty when it can. */
  get trouble() {
    if (!this.clicks) return "no-light";
    if (this.sifted < TEST_BITS) return "too-faint";
    if (this.qber >= Math.max(SLIPPED, this.#abort)) return "clock-lost";
    return this.qber >= this.#abort || this.sifted < this.#least ? "qber" : "";
  }
}

/** Watches a link in service. */
export class Monitor {
  usualClicks = 0; #protocol; #dark = 0; #totals = [[0, 0]]; #blocks = [0, 0]; #isBarren = false; #aborting = []; #degrading = [];
  #reflected = 0;

  constructor(protocol) { this.#protocol = protocol; }

  seeTrain(clicks) { this.#dark = clicks <= this.usualClicks * FAINT_SHARE ? this.#dark + 1 : 0; }
  seeReflection(photons) { this.#reflected = photons; }
  seeFindings({ aborting, degrading }) { [this.#aborting, this.#degrading] = [aborting, degrading]; }

  seeBlock({ secretBits, qber }) {
    this.#isBarren = secretBits === 0;
    this.#blocks = [this.#blocks[1], qber];
  }

  /** The receiver's running totals of compared X bits and errors. */
  seeX(compared, errors) {
    if (compared > this.#totals.at(-1)[0]) this.#totals.push([compared, errors]);
    while (this.#totals.length > 2 && compared - this.#totals[1][0] >= WINDOW_BITS) this.#totals.shift();
  }

  get qberX() {
    const [first, last] = [this.#totals[0], this.#totals.at(-1)], compared = last[0] - first[0];
    return compared >= WINDOW_BITS ? (last[1] - first[1]) / compared : null;
  }

  /** What monitors of either end see that ends service. */
  get found() { return this.#reflected > REFLECTED_PHOTONS ? "back-reflection" : this.#aborting[0] ?? ""; }

  /** Why the link has to leave service; empty when it need not. */
  get trouble() {
    if (this.found) return this.found;
    if (this.#dark >= DARK_TRAINS) return "no-light";
    const worst = Math.max(this.qberX ?? 0, this.#blocks[1]);
    if (worst >= SLIPPED) return "clock-lost";
    const isOver = (this.qberX ?? 0) >= this.#protocol.qberAbortProb || Math.min(...this.#blocks) >= this.#protocol.qberAbortProb;
    return isOver ? "qber" : "";
  }

  /** Why the link, in service, is only DEGRADED; empty when all is well. */
  get worry() {
    if (this.#degrading.length) return this.#degrading[0];
    if (Math.max(this.qberX ?? 0, this.#blocks[1]) >= this.#protocol.qberDegradedProb) return "qber";
    return this.#isBarren ? "no-key" : "";
  }
}

/** Holds the power of the source at what is set, by what its own monitor reads. */
export class Trim {
  ratio = 1; #readings = []; #passedOver = 0;

  /** Take the reading of a train; return the trim to set, or null while the power is right. */
  see(powerRatio) {
    if (this.#passedOver > 0) {
      this.#passedOver--;
      return null;
    }
    this.#readings.push(powerRatio);
    if (this.#readings.length < POWER_TRAINS) return null;
    const mean = this.#readings.reduce((sum, each) => sum + each, 0) / POWER_TRAINS;
    this.#readings = [];
    if (!(mean > 0) || Math.abs(mean - 1) <= POWER_OFF) return null;
    this.#passedOver = POWER_TRAINS; // trains that were on their way already
    return (this.ratio = Math.min(Math.max(this.ratio / mean, 1 / MOST_TRIM), MOST_TRIM));
  }
}
