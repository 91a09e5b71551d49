// A key block's post-processing at the transmitter, which coordinates it: parities, verification, length, amplification,
// and the two durable steps after which both ends hold it.
import { randomBytes } from "node:crypto";
import { pack, unpack, words } from "./bits.js";
import { ParityAnswers } from "./cascade.js";
import { keyEstimate } from "./estimation.js";
import { polynomialHash, toeplitz } from "./hashes.js";
import { refused, Trouble } from "./wire.js";

const HASH_BITS = 128, LEAST_SECRET_BITS = 32, INBOX_LIMIT = 4, LIMIT_MS = 60_000;

/** One block on its way. `raw`: {zBits, zCounts, xCounts}, counts per intensity. */
export class Block {
  #inbox = [];

  constructor(id, raw, { wire, store, link }) {
    Object.assign(this, { id, raw, wire, store, link });
  }

  deliver(message) {
    if (this.#inbox.push(message) > INBOX_LIMIT) throw refused(`block ${this.id}: more messages than are asked for`);
  }

  async #next(...events) {
    await this.wire.until(() => this.#inbox.length, LIMIT_MS + this.raw.zBits.length / 100, "block-stalled");
    const message = this.#inbox.shift();
    if (!events.includes(message.event.case)) throw refused(`block ${this.id}: ${message.event.case} instead of ${events}`);
    return message;
  }

  /** Take it to AVAILABLE at both ends, or drop it at both: {secretBits, qber, reason}. */
  async run(qberEstimateProb) {
    try {
      return await this.#run(qberEstimateProb);
    } finally {
      this.wire.forget(this.id);
    }
  }

  async #run(qberEstimateProb) {
    const { wire, store, id: blockId } = this, { zBits } = this.raw;
    const permutationSeed = randomBytes(8).readBigUInt64LE();
    wire.send("blockStart", { blockId, siftedBits: zBits.length, permutationSeed, qberEstimateProb });
    const parities = new ParityAnswers(zBits, permutationSeed);
    const corrected = await this.#reconciled(parities);
    const qber = corrected.errorCounts.reduce((sum, count) => sum + count, 0) / zBits.length;
    const drop = (reason) => {
      wire.send("blockSeed", { blockId, reason });
      return { secretBits: 0, qber, reason };
    };
    // what was said in the clear: every parity, and the hash
    const estimate = this.#estimate(corrected, parities.disclosed + HASH_BITS);
    const { secretBits } = estimate;
    if (secretBits < LEAST_SECRET_BITS) return drop(estimate.reason || "leak");

    const hashKey = randomBytes(16), seedBits = zBits.length + secretBits - 1;
    const drawn = randomBytes((seedBits + 7) >> 3);
    if (seedBits & 7) drawn[drawn.length - 1] &= (1 << (seedBits & 7)) - 1;
    const secret = await toeplitz(zBits, unpack(drawn, seedBits), secretBits);
    await store.prepare(blockId, this.link.linkId, this.link.peerNode, Buffer.from(pack(secret)), secretBits);
    const seed = { blockId, hashKey, hash: polynomialHash(zBits, hashKey), secretBits, toeplitzSeed: drawn };
    if (!(await wire.sendTagged(blockId, "blockSeed", seed))) {
      await store.abort(blockId);
      return drop("auth-starved");
    }
    const prepared = await this.#next("blockPrepared");
    if (!prepared.event.value.isPrepared) {
      await store.abort(blockId);
      const reason = prepared.event.value.reason.slice(0, 64);
      wire.send("blockDecision", { blockId, isCommit: false, reason });
      return { secretBits: 0, qber, reason };
    }
    await wire.checkTags(blockId, prepared.tags);
    await store.commit(blockId);
    wire.sendDecided(blockId, "blockDecision", { blockId, isCommit: true });
    wire.checkDecided(blockId, await this.#next("blockCommitted"));
    await store.confirm(blockId);
    return { secretBits, qber, reason: "" };
  }

  async #reconciled(parities) {
    for (;;) {
      const { event } = await this.#next("parityQuery", "blockCorrected");
      if (event.case === "blockCorrected") return event.value;
      const { passes, starts, lengths } = event.value;
      let answer;
      try {
        answer = parities.answer(passes, words(starts, Uint32Array, "starts"), words(lengths, Uint32Array, "lengths"));
      } catch (error) {
        throw new Trouble("session-refused", `block ${this.id}: ${error.message}`);
      }
      this.wire.send("parityAnswer", { blockId: this.id, parities: pack(answer) });
    }
  }

  #estimate(corrected, leaked) {
    const { intensities, intensityProbs } = this.link.planned, { epsSec, epsCor } = this.link.protocol;
    try {
      return keyEstimate({
        z: this.raw.zCounts, zErrors: corrected.errorCounts, x: this.raw.xCounts, xErrors: corrected.xErrorCounts,
        intensities, probs: intensityProbs, epsSec, epsCor, leaked,
      });
    } catch (error) {
      throw refused(`block ${this.id}: ${error.message}`);
    }
  }
}
