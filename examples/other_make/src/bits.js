// Bits and packed arrays as the wire carries them (link_session.proto: BITS, ARRAYS). A bit is a byte 0 or 1 in memory.

/** Pack bits eight to a byte, the first in the least significant bit. */
export function pack(bits) {
  const bytes = new Uint8Array((bits.length + 7) >> 3);
  for (let i = 0; i < bits.length; i++) if (bits[i]) bytes[i >> 3] |= 1 << (i & 7);
  return bytes;
}

/** Return the `count` bits that `data` holds; throws when it is longer, shorter, or its padding is not zero. */
export function unpack(data, count, what = "bits") {
  if (data.length !== (count + 7) >> 3) throw new RangeError(`${what}: ${data.length} bytes for ${count} bits`);
  if (count & 7 && data[data.length - 1] >> (count & 7)) throw new RangeError(`${what}: padding is not zero`);
  const bits = new Uint8Array(count);
  for (let i = 0; i < count; i++) bits[i] = (data[i >> 3] >> (i & 7)) & 1;
  return bits;
}

/** Return a packed array of 32-bit integers from the wire, little-endian, whatever its alignment. */
export function words(data, Type, what) {
  if (data.length % 4) throw new RangeError(`${what}: ${data.length} bytes are no whole number of entries`);
  return new Type(new Uint8Array(data).buffer);
}

export function xor(a, b) {
  if (a.length !== b.length) throw new RangeError("exclusive or of different lengths");
  return Buffer.from(a.map((byte, i) => byte ^ b[i]));
}
