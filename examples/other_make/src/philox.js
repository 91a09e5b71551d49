// The choice function (choice.proto): Philox4x32-10, and what a transmitter chose at each pulse.

function high(a, b) {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = ah * bl + ((al * bl) >>> 16);
  return ah * bh + (middle >>> 16) + ((al * bh + (middle & 0xffff)) >>> 16);
}

/** Four output words (uint32) of the counter (c0..c3) under the key (k0, k1), written to `out`. */
export function philox(c0, c1, c2, c3, k0, k1, out) {
  for (let round = 0; round < 10; round++) {
    const n0 = high(c2, 0xcd9e8d57) ^ c1 ^ k0;
    const n2 = high(c0, 0xd2511f53) ^ c3 ^ k1;
    [c1, c3] = [Math.imul(c2, 0xcd9e8d57), Math.imul(c0, 0xd2511f53)];
    [c0, c2] = [n0 >>> 0, n2 >>> 0];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  [out[0], out[1], out[2], out[3]] = [c0, c1 >>> 0, c2, c3 >>> 0];
}

/** round(prob 2^32), ties to even. */
export function threshold(prob) {
  if (!(prob >= 0 && prob <= 1)) throw new RangeError(`probability ${prob} is not in 0 .. 1`);
  const scaled = prob * 4294967296, floor = Math.floor(scaled);
  return scaled - floor === 0.5 ? floor + (floor % 2) : Math.round(scaled);
}

/** The sending end of a link: it knows what it sent. Pulses are numbers below 2^53, which is 104 days of 1 GHz. */
export class Transmitter {
  #secret; #z; #steps; #out = new Uint32Array(4);

  constructor(secret, pZ, probs) {
    const view = new DataView(secret.buffer, secret.byteOffset, 16);
    this.#secret = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
    this.#z = threshold(pZ);
    let total = 0;
    this.#steps = probs.slice(0, -1).map((prob) => threshold(Math.min((total += prob), 1)));
  }

  /** [basis (0 Z, 1 X), intensity, bit] of pulse high 2^32 + low. */
  choice(low, high) {
    const [s0, s1, s2, s3] = this.#secret, out = this.#out;
    philox(low, high, (1 ^ s2) >>> 0, s3, s0, s1, out);
    let level = 0;
    for (const step of this.#steps) if (out[1] >= step) level++;
    return [out[0] >= this.#z ? 1 : 0, level, out[2] >>> 31];
  }

  /** The choices at many pulses, each an array. */
  choices(pulses) {
    const [bases, levels, bits] = [0, 0, 0].map(() => new Uint8Array(pulses.length));
    for (let i = 0; i < pulses.length; i++) {
      [bases[i], levels[i], bits[i]] = this.choice(pulses[i] % 4294967296, Math.floor(pulses[i] / 4294967296));
    }
    return { bases, levels, bits };
  }
}
