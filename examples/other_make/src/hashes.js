// Hashes of link_session.proto: GHASH (AUTHENTICATION), the polynomial hash (VERIFICATION), Toeplitz (AMPLIFICATION).
import { createCipheriv } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { pack, xor } from "./bits.js";

const NONCE = Buffer.alloc(12);

/** GHASH under H = AES-128_K(0): the tag of AES-GCM without ciphertext, less its mask. */
export class Ghash {
  #key; #said = [];

  constructor(key) { this.#key = key; }

  add(data) { this.#said.push(Buffer.from(data)); return this; }

  value() {
    const mask = createCipheriv("aes-128-ecb", this.#key, null).update(Buffer.concat([NONCE, Buffer.from([0, 0, 0, 1])]));
    const cipher = createCipheriv("aes-128-gcm", this.#key, NONCE).setAAD(Buffer.concat(this.#said));
    cipher.final();
    return xor(cipher.getAuthTag(), mask);
  }
}

/** m_1 k^l + .. + m_l k in GF(2^128); bit i of a block is the coefficient of x^i. */
export function polynomialHash(bits, key) {
  const blocks = Math.ceil(bits.length / 128), data = new Uint8Array(16 * blocks);
  data.set(pack(bits));
  const view = new DataView(data.buffer), powers = multiples(key);
  let sum = new Uint32Array(4);
  for (let block = 0; block < blocks; block++) {
    const product = new Uint32Array(4);
    for (let word = 0; word < 4; word++) {
      const value = sum[word] ^ view.getUint32(16 * block + 4 * word, true);
      for (let bit = 0; bit < 32; bit++) {
        if ((value >>> bit) & 1) for (let i = 0; i < 4; i++) product[i] ^= powers[4 * (32 * word + bit) + i];
      }
    }
    sum = product;
  }
  return Buffer.from(sum.buffer);
}

/** key x^i for i = 0 .. 127, four words each. */
function multiples(key) {
  const powers = new Uint32Array(512), view = new DataView(key.buffer, key.byteOffset, 16);
  const power = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
  for (let i = 0; i < 128; i++) {
    powers.set(power, 4 * i);
    const over = power[3] >>> 31;
    for (let word = 3; word > 0; word--) power[word] = (power[word] << 1) | (power[word - 1] >>> 31);
    power[0] = (power[0] << 1) ^ (over ? 0x87 : 0);
  }
  return powers;
}

const WORDS_AT_ONCE = 1 << 23;

/** Secret bit i: parity of bit[j] AND seed[i - j + n - 1] over j. Others may run between parts: heartbeats go on. */
export async function toeplitz(bits, seed, secretBits) {
  const n = bits.length, width = (secretBits + 31) >> 5;
  const shifted = Array.from({ length: 32 }, (_, shift) => shiftedWords(seed, shift));
  const sum = new Uint32Array(width);
  for (let j = 0, done = 0; j < n; j++) {
    if (!bits[j]) continue;
    const start = n - 1 - j, row = shifted[start & 31], at = start >> 5;
    for (let word = 0; word < width; word++) sum[word] ^= row[at + word];
    if ((done += width) > WORDS_AT_ONCE) done = (await setImmediate(), 0);
  }
  return Uint8Array.from({ length: secretBits }, (_, i) => (sum[i >> 5] >>> (i & 31)) & 1);
}

function shiftedWords(seed, shift) {
  const row = new Uint32Array(((seed.length + 31) >> 5) + 1);
  for (let i = shift; i < seed.length; i++) if (seed[i]) row[(i - shift) >> 5] |= 1 << ((i - shift) & 31);
  return row;
}
