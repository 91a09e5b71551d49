// RECONCILIATION of link_session.proto at the transmitter: answers parities of ranges, in the orders that the seed fixes.
import { philox } from "./philox.js";

const FRAME_BITS = 65536, ORDERED = 3, PASSES = 19, SPARE = 64;

/** Frames M, rows L and the order of the rows in each pass. */
export class Layout {
  #key; #orders = [];

  constructor(bitCount, seed) {
    this.bitCount = bitCount;
    this.frames = Math.max(1, Math.floor((bitCount + FRAME_BITS / 2) / FRAME_BITS));
    this.rows = Math.ceil(bitCount / this.frames);
    this.#key = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  }

  order(pass) {
    return (this.#orders[pass] ??= pass < ORDERED ? this.#sorted(pass) : this.#halved(pass));
  }

  #words(pass, count) {
    const out = new Uint32Array(Math.ceil(count / 4) * 4);
    for (let i = 0; i < out.length; i += 4) philox(i / 4, pass, 0, 4, ...this.#key, out.subarray(i, i + 4));
    return out;
  }

  #sorted(pass) {
    // a frame has less than 2^17 rows: word and row fit into a double
    const marked = Float64Array.from({ length: this.rows });
    const drawn = this.#words(pass, this.rows);
    for (let row = 0; row < this.rows; row++) marked[row] = drawn[row] * 131072 + row;
    return Uint32Array.from(marked.sort(), (each) => each % 131072);
  }

  #halved(pass) {
    const drawn = this.#words(pass, Math.ceil(this.rows / 32));
    const [first, then] = [[], []];
    for (let row = 0; row < this.rows; row++) ((drawn[row >> 5] >>> (row & 31)) & 1 ? first : then).push(row);
    return Uint32Array.from([...first, ...then]);
  }
}

/** Answers the receiver's queries about `bits`; `disclosed` counts the parities. */
export class ParityAnswers {
  #bits; #layout; #prefixes = []; disclosed = 0;

  constructor(bits, seed) {
    this.#bits = bits;
    this.#layout = new Layout(bits.length, seed);
  }

  /** Parity of the first i positions of a pass: a range is the difference of two. */
  #prefix(pass) {
    if (this.#prefixes[pass]) return this.#prefixes[pass];
    const { frames, rows, bitCount } = this.#layout, order = this.#layout.order(pass);
    const prefix = new Uint8Array(frames * rows + 1);
    for (let frame = 0, at = 0; frame < frames; frame++) {
      for (let offset = 0; offset < rows; offset++, at++) {
        const bit = order[offset] * frames + frame;
        prefix[at + 1] = prefix[at] ^ (bit < bitCount ? this.#bits[bit] : 0);
      }
    }
    return (this.#prefixes[pass] = prefix);
  }

  /** Bits of the answer. Throws on ranges that leave their frame, and on more questions than the block has bits. */
  answer(passes, starts, lengths) {
    const { frames, rows, bitCount } = this.#layout, count = passes.length;
    if (starts.length !== count || lengths.length !== count) throw new RangeError("a parity query of unequal arrays");
    if (this.disclosed + count > bitCount + SPARE) throw new RangeError("more parities asked than the block has bits");
    const parities = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      const [pass, start, length] = [passes[i], starts[i], lengths[i]];
      const end = start + length, frameEnd = (Math.floor(start / rows) + 1) * rows;
      if (pass >= PASSES || length < 1 || end > frameEnd || end > frames * rows) {
        throw new RangeError(`parity query: pass ${pass}, start ${start}, length ${length}`);
      }
      const prefix = this.#prefix(pass);
      parities[i] = prefix[start] ^ prefix[end];
    }
    this.disclosed += count;
    return parities;
  }
}
