// From reported clicks to sifted blocks (link_session.proto: SIFTING). A block ends with the very Z bit that completes its
// size; X events before that bit belong to it.

export class Assembler {
  #ramp; #number = 0; #bits = []; #z = [0, 0]; #x = [0, 0];

  constructor(ramp) { this.#ramp = ramp; }

  get #size() { return this.#ramp[Math.min(this.#number, this.#ramp.length - 1)]; }

  /** Add one event with equal bases; return the block that it completes, or null. */
  add(basis, level, bit) {
    if (basis === 1) {
      this.#x[level]++;
      return null;
    }
    this.#z[level]++;
    if (this.#bits.push(bit) < this.#size) return null;
    const block = { number: this.#number++, zBits: Uint8Array.from(this.#bits), zCounts: this.#z, xCounts: this.#x };
    [this.#bits, this.#z, this.#x] = [[], [0, 0], [0, 0]];
    return block;
  }
}
