// Which pulses a report names; and by how many slots a receiver misses them, from what it measured in a test train.
import { words } from "./bits.js";

export const BLOCK_PULSES = 1 << 20;
// errors that only bits of other pulses make, and clicks that have to be compared
const SLIPPED = 0.35, LEAST = 60, CLICKS = 400, REACH = 4096, SIGMAS = 7, SURE = 10;

/** Pulse indices of the slots of a report. */
export function pulses({ trainId, firstBlock, blockCounts, offsets }) {
  const counts = words(blockCounts, Uint32Array, "block counts"), slots = words(offsets, Int32Array, "slots");
  if (counts.reduce((sum, each) => sum + each, 0) !== slots.length) throw new RangeError(`train ${trainId}: block counts and slots differ`);
  const found = new Array(slots.length);
  let at = 0;
  counts.forEach((count, block) => {
    for (let i = 0; i < count; i++, at++) found[at] = (Number(firstBlock) + block) * BLOCK_PULSES + slots[at];
  });
  return { pulses: found, blockCount: counts.length };
}

/** Whether so many errors among matching bits mean that slots were named wrongly. */
export const isSlipped = (errors, compared) => compared >= LEAST && errors >= SLIPPED * compared;

/** By how many slots too late pulses were named; 0 when no shift stands out from chance. */
export function missedSlots(device, named, bases, values) {
  const step = Math.max(1, Math.floor(named.length / CLICKS));
  const sample = named.map((_, i) => i).filter((i) => i % step === 0);
  let best = 0, bestSigmas = 0;
  for (let i = 0; i <= 2 * REACH && bestSigmas < SURE; i++) {
    const shift = ((i + 1) >> 1) * (i % 2 ? 1 : -1);
    let compared = 0, equal = 0;
    for (const place of sample) {
      const pulse = named[place] - shift;
      if (pulse < 0) continue;
      const [basis, , bit] = device.choice(pulse % 4294967296, Math.floor(pulse / 4294967296));
      if (basis !== bases[place]) continue;
      compared++;
      if (bit === values[place]) equal++;
    }
    const sigmas = compared >= LEAST ? (2 * equal - compared) / Math.sqrt(compared) : 0;
    if (sigmas > bestSigmas) [best, bestSigmas] = [shift, sigmas];
  }
  return bestSigmas >= SIGMAS ? best : 0;
}
