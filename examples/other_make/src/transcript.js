// AUTHENTICATION of link_session.proto: what one end of a session said, hashed under a recycled key.
import { createHash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { Ghash } from "./hashes.js";

export const TAG_BYTES = 16;
export const BLOCK_PAD_BITS = 3 * 8 * TAG_BYTES;
const PRESHARED_BYTES = 8192;
const CUTS = new Set(["blockStart", "blockCorrected"]);
const DECISIONS = new Set(["blockDecision", "blockCommitted"]);

/** K_t, K_r and the pre-shared block that follow from the authentication secret of a link. */
export function linkSecrets(secret) {
  if (secret.length !== 16) throw new RangeError(`authentication_secret has 16 bytes, this one ${secret.length}`);
  const derived = createHash("shake256", { outputLength: 32 + PRESHARED_BYTES })
    .update("qnetem link authentication").update(secret).digest();
  return { transmitter: derived.subarray(0, 16), receiver: derived.subarray(16, 32), preshared: derived.subarray(32) };
}

/** le64(length) || the message without its tags. Entries of a map ascend by key. */
function encoded(schema, message) {
  const plain = { ...message, tags: undefined };
  if (plain.event.case === "findings") {
    const steps = Object.entries(plain.event.value.stepsS).sort(([a], [b]) => (a < b ? -1 : 1));
    plain.event = { case: "findings", value: { ...plain.event.value, stepsS: Object.fromEntries(steps) } };
  }
  const data = toBinary(schema, plain);
  return Buffer.concat([le64(data.length), data]);
}

function le64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** One direction of one session. */
export class Transcript {
  #key; #schema; #stream; #session; #cuts = new Map(); #blocks = new Map(); #closed = new Map();

  constructor(key, schema, incarnation, counter) {
    [this.#key, this.#schema] = [key, schema];
    this.#stream = new Ghash(key).add(Buffer.alloc(TAG_BYTES));
    this.#session = Buffer.concat([Buffer.alloc(8, 255), le64(incarnation), le64(counter)]);
  }

  /** Take the next message of this direction. */
  see(message) {
    const { case: event, value } = message.event;
    if (!event || event === "heartbeat" || DECISIONS.has(event)) return;
    if (value.blockId === undefined) return void this.#stream.add(encoded(this.#schema, message));
    if (this.#closed.has(value.blockId)) return;
    if (CUTS.has(event)) {
      const cut = this.#stream.value();
      this.#cuts.set(value.blockId, cut);
      this.#stream = new Ghash(this.#key).add(cut);
    }
    if (!this.#blocks.has(value.blockId)) this.#blocks.set(value.blockId, new Ghash(this.#key));
    this.#blocks.get(value.blockId).add(encoded(this.#schema, message));
    if (message.tags) this.close(value.blockId);
  }

  /** The hashes (stream, block) of a block whose last message that counts was seen; undefined where it did not begin. */
  close(blockId) {
    const [block, stream] = [this.#blocks.get(blockId), this.#cuts.get(blockId)];
    if (block && stream) this.#closed.set(blockId, { stream, block: block.value() });
    this.#blocks.delete(blockId);
    this.#cuts.delete(blockId);
    return this.#closed.get(blockId);
  }

  /** The hash of a message by itself. */
  alone(message) {
    return new Ghash(this.#key).add(this.#session).add(encoded(this.#schema, message)).value();
  }

  forget(blockId) {
    for (const held of [this.#cuts, this.#blocks, this.#closed]) held.delete(blockId);
  }
}
