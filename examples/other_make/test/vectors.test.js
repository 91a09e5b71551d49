// What is here against the project's vectors, which lie beside its contract tests.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { SessionRequestSchema } from "../generated/qnetem/v1/link_session_pb.js";
import { pack, unpack } from "../src/bits.js";
import { Layout, ParityAnswers } from "../src/cascade.js";
import { Ghash, polynomialHash, toeplitz } from "../src/hashes.js";
import { philox, Transmitter } from "../src/philox.js";
import { linkSecrets, Transcript } from "../src/transcript.js";

const folder = process.env.QNETEM_VECTORS ?? new URL("../../../tests/contract", import.meta.url).pathname;
const load = (name) => JSON.parse(readFileSync(`${folder}/${name}`, "utf8"));
const choice = load("choice-vectors.json"), post = load("post-processing-vectors.json");
const hex = (text) => Buffer.from(text, "hex");
const shake = (label, size) => createHash("shake128", { outputLength: size }).update(label).digest();
const labelled = (label, count) => {
  const bytes = shake(label, (count + 7) >> 3);
  return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
};

test("philox", () => {
  for (const { counter, key, words } of choice.philox) {
    const out = new Uint32Array(4);
    philox(...[...counter, ...key].map((word) => parseInt(word, 16)), out);
    assert.deepEqual([...out], words.map((word) => parseInt(word, 16)));
  }
});

test("choices of a transmitter", () => {
  const text = readFileSync(`${folder}/choice-vectors.json`, "utf8");
  for (const one of choice.transmitter) {
    const device = new Transmitter(hex(one.secret), one.p_z, one.intensity_probs);
    one.indices.forEach((index, i) => {
      // 2^63 - 1 is no number that JavaScript keeps
      const exact = index > Number.MAX_SAFE_INTEGER ? BigInt(/9223372036854775807/.exec(text)[0]) : BigInt(index);
      const found = device.choice(Number(exact & 0xffffffffn), Number(exact >> 32n));
      assert.deepEqual(found, [one.bases[i], one.intensities[i], one.bits[i]]);
    });
  }
});

test("bits", () => {
  for (const { bits, bytes } of post.packing) {
    assert.deepEqual(Buffer.from(pack(Uint8Array.from(bits))), hex(bytes));
    assert.deepEqual([...unpack(hex(bytes), bits.length)], bits);
  }
  assert.throws(() => unpack(hex("02"), 1));
});

test("orders and parities of Cascade", () => {
  for (const one of post.orders) {
    const layout = new Layout(one.bit_count, BigInt(one.permutation_seed));
    assert.deepEqual([layout.frames, layout.rows], [one.frame_count, one.row_count]);
    for (const [pass, rows] of Object.entries(one.first_rows)) {
      assert.deepEqual([...layout.order(Number(pass)).slice(0, rows.length)], rows);
    }
  }
  for (const one of post.parities) {
    const answers = new ParityAnswers(labelled(one.bits_label, one.bit_count), BigInt(one.permutation_seed));
    const [passes, starts, lengths, parities] = [0, 1, 2, 3].map((i) => one.queries.map((query) => query[i]));
    assert.deepEqual([...answers.answer(passes, starts, lengths)], parities);
  }
});

test("a range that leaves its frame, and one question too many, are refused", () => {
  const answers = new ParityAnswers(labelled("sifted", 100), 1n);
  assert.throws(() => answers.answer([0], [0], [101]), /parity query/);
  assert.throws(() => answers.answer([19], [0], [1]), /parity query/);
  answers.answer(...[0, 0, 1].map((value) => new Array(164).fill(value)));
  assert.throws(() => answers.answer([0], [0], [1]), /more parities/);
});

test("hashes", async () => {
  for (const one of post.hashes) {
    assert.equal(polynomialHash(labelled(one.bits_label, one.bit_count), hex(one.key)).toString("hex"), one.hash);
  }
  for (const one of post.ghash) {
    assert.equal(new Ghash(hex(one.key)).add(shake(one.data_label, one.size_bytes)).value().toString("hex"), one.hash);
  }
  for (const one of post.toeplitz) {
    const seed = labelled(one.seed_label, one.bit_count + one.secret_bits - 1);
    const secret = await toeplitz(labelled(one.bits_label, one.bit_count), seed, one.secret_bits);
    const text = Buffer.from(pack(secret)).toString("hex");
    assert.equal(text, one.secret);
  }
});

test("secrets of a link and transcripts", () => {
  for (const one of post.link_secrets) {
    const found = linkSecrets(hex(one.secret));
    assert.deepEqual([found.transmitter, found.receiver].map((key) => key.toString("hex")), [one.transmitter_key, one.receiver_key]);
    assert.equal(createHash("sha256").update(found.preshared).digest("hex"), one.preshared_sha256);
  }
  for (const one of post.transcripts) {
    const said = new Transcript(hex(one.key), SessionRequestSchema, 1n, 1n);
    for (const message of one.said) said.see(fromBinary(SessionRequestSchema, hex(message)));
    const { stream, block } = said.close(one.block_id);
    assert.deepEqual([stream, block].map((hash) => hash.toString("hex")), [one.stream, one.block]);
  }
  for (const one of post.alone) {
    const said = new Transcript(hex(one.key), SessionRequestSchema, BigInt(one.incarnation), BigInt(one.session_counter));
    assert.equal(said.alone(fromBinary(SessionRequestSchema, hex(one.said))).toString("hex"), one.hash);
  }
});
