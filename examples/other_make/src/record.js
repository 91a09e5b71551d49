// The life of a link as this end sees it, and its figures (node.proto: NodeLinkStatus).
import { LinkRole } from "../generated/qnetem/v1/process_pb.js";

export const State = { COMMISSIONING: 1, OPERATING: 2, DEGRADED: 3, DOWN: 4 };
const NAMES = Object.fromEntries(Object.entries(State).map(([name, number]) => [number, name]));
const RATE_WINDOW_S = 10;

/** Events per emulated second over the last seconds. */
class Rate {
  #counts = [];
  add(count, nowS) { this.#counts.push([nowS, count]); }
  perS(nowS) {
    this.#counts = this.#counts.filter(([at]) => nowS - at <= RATE_WINDOW_S);
    return this.#counts.reduce((sum, [, count]) => sum + count, 0) / RATE_WINDOW_S;
  }
}

export class LinkRecord {
  state = State.DOWN; reason = "starting"; #sinceS; #commissioningS; #node;
  clicks = new Rate(); sifted = new Rate();
  figures = { timeToServiceS: 0, qberProb: 0, roundTripS: 0, lagS: 0, isIdle: false, intensityTrimRatio: 1, epsilonTotal: 0 };
  counts = { blocksMadeCount: 0n, blocksDroppedCount: 0n, secretBitsTotal: 0n, discardedTrainsCount: 0n, tagsBitsTotal: 0n };
  #yield = 0; #tags = 0;

  constructor(link, node) {
    [this.link, this.#node] = [link, node];
    this.#sinceS = this.#commissioningS = node.clock.nowS();
  }

  get isInService() { return this.state === State.OPERATING || this.state === State.DEGRADED; }

  /** Enter a state, or give it another reason; false when both are as they were. */
  enter(state, reason = "") {
    if (state === this.state && reason === this.reason) return false;
    const nowS = this.#node.clock.nowS();
    if (state !== this.state) {
      this.#sinceS = nowS;
      if (state === State.COMMISSIONING) this.#commissioningS = nowS;
      if (state === State.OPERATING && this.state === State.COMMISSIONING) this.figures.timeToServiceS = nowS - this.#commissioningS;
    }
    [this.state, this.reason] = [state, reason];
    const fields = { link_id: this.link.linkId, state: NAMES[state], reason };
    this.#node.records.journal("link.state.changed", fields);
    this.#node.records.log("info", "link.state.changed", fields);
    this.#node.linkChanged(this);
    return true;
  }

  /** Count a block that was made, or, with no secret bits, dropped. `tagBits`: what this end paid for it. */
  countBlock(blockId, siftedBits, { secretBits, qber, reason }, tagBits) {
    this.figures.qberProb = qber;
    [this.#yield, this.#tags] = [secretBits / siftedBits, secretBits ? (2 * tagBits) / siftedBits : 0];
    const fields = { link_id: this.link.linkId, block_id: blockId };
    if (!secretBits) {
      this.counts.blocksDroppedCount++;
      return this.#node.records.journal("key.block.dropped", { ...fields, reason });
    }
    this.counts.blocksMadeCount++;
    this.counts.secretBitsTotal += BigInt(secretBits);
    this.counts.tagsBitsTotal += BigInt(tagBits);
    this.figures.epsilonTotal += this.link.protocol.epsSec + this.link.protocol.epsCor;
    const made = { sifted_bits: siftedBits, secret_bits: secretBits, qber_prob: Number(qber.toFixed(6)), is_secure: true };
    this.#node.records.journal("key.block.made", { ...fields, ...made });
  }

  status() {
    const nowS = this.#node.clock.nowS(), siftedHz = this.sifted.perS(nowS);
    return {
      linkId: this.link.linkId, role: LinkRole.TRANSMITTER, peerNode: this.link.peerNode, state: this.state, reason: this.reason,
      inStateS: nowS - this.#sinceS, clicksHz: this.clicks.perS(nowS), siftedHz, secretGrossHz: siftedHz * this.#yield,
      secretNetHz: siftedHz * (this.#yield - this.#tags), protocol: this.link.protocol.protocol, ...this.figures, ...this.counts,
    };
  }
}
