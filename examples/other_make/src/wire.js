// One session's stream at the transmitter: sending in order, tags, heartbeats, and giving up on a silent peer.
import { timingSafeEqual } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { LinkSessionService, SessionRequestSchema, SessionResponseSchema, TagsSchema } from "../generated/qnetem/v1/link_session_pb.js";
import { xor } from "./bits.js";
import { Clock } from "./process.js";
import { bidi, Refusal, refusalOf } from "./rpc.js";
import { BLOCK_PAD_BITS, linkSecrets, TAG_BYTES, Transcript } from "./transcript.js";

export const HEARTBEAT_MS = 1000;
export const SILENCE_MS = 4000;

/** The link cannot make keys now; `why` is the reason that its state then carries. */
export class Trouble extends Error {
  constructor(why, detail = why) {
    super(detail);
    this.why = why;
  }
}

/** What the peer sent cannot be, or is not what was agreed. */
export const refused = (detail) => new Trouble("session-refused", detail);

export class Wire {
  #call; #clock; #store; #link; #said; #heard; #ownPads = new Map(); #peerPads = new Map();
  #fail; #changed = deferred(); #beats = []; #number = 0; #timer; #heardAt = Date.now();
  roundTripS = 0; inbox = []; onMessage = null; isOver = false;

  constructor(client, { clock, store, link, counter }) {
    [this.#clock, this.#store, this.#link] = [clock, store, link];
    const secrets = linkSecrets(link.authenticationSecret);
    this.#said = new Transcript(secrets.transmitter, SessionRequestSchema, store.incarnation, counter);
    this.#heard = new Transcript(secrets.receiver, SessionResponseSchema, store.incarnation, counter);
    this.ended = new Promise((_, reject) => { this.#fail = reject; });
    this.ended.catch(() => {});
    this.#call = bidi(client, LinkSessionService, "session");
    this.#call.on("data", (message) => this.#hear(message));
    this.#call.on("error", (error) => this.fail(troubleOf(error)));
    this.#call.on("end", () => this.fail(new Trouble("peer-closed")));
    this.#timer = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#beat();
  }

  /** End the session, for everybody who waits for something in it. */
  fail(error) {
    this.isOver = true;
    this.#fail(error);
    this.notify();
  }

  close() {
    this.fail(new Trouble("peer-closed"));
    clearInterval(this.#timer);
    this.#call.cancel();
  }

  /** Let the receiver take what was said to the end: a cancelled stream may drop it. */
  async finish() {
    const isTaken = new Promise((resolve) => this.#call.once("end", resolve).end());
    await Promise.race([isTaken, new Promise((resolve) => setTimeout(resolve, 1000))]);
  }

  /** Something may have changed for those who wait. */
  notify() {
    const changed = this.#changed;
    this.#changed = deferred();
    changed.resolve();
  }

  /** Wait until something holds; the session's trouble, or `why` when it takes more than `ms`, otherwise. */
  async until(holds, ms = 2 ** 31 - 1, why = "peer-silent") {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Trouble(why)), ms); });
    try {
      while (!holds()) await Promise.race([this.#changed.promise, this.ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async sleep(ms) {
    let timer;
    const slept = new Promise((resolve) => { timer = setTimeout(resolve, Math.max(0, ms)); });
    await Promise.race([slept, this.ended]).finally(() => clearTimeout(timer));
  }

  async next(event, ms) {
    await this.until(() => this.inbox.length, ms);
    const message = this.inbox.shift();
    if (message.event.case !== event) throw refused(`link ${this.#link.linkId}: ${message.event.case} instead of ${event}`);
    return message;
  }

  #message(event, value) {
    return create(SessionRequestSchema, { sent: Clock.toWire(this.#clock.nowPs()), event: { case: event, value } });
  }

  #write(message) {
    if (this.isOver) throw new Trouble("peer-closed");
    this.#call.write(message);
  }

  send(event, value) {
    const message = this.#message(event, value);
    this.#said.see(message);
    this.#write(message);
  }

  #beat() {
    if (this.isOver) return;
    if (Date.now() - this.#heardAt > SILENCE_MS) {
      this.fail(new Trouble("peer-silent"));
      return;
    }
    this.#beats = [...this.#beats.slice(-15), [++this.#number, performance.now()]];
    this.#write(this.#message("heartbeat", { number: BigInt(this.#number) }));
  }

  #hear(message) {
    if (this.isOver) return;
    this.#heardAt = Date.now();
    if (message.event.case === "heartbeat") {
      const { number, echo } = message.event.value;
      const sent = this.#beats.find(([each]) => BigInt(each) === echo);
      if (sent) this.roundTripS = Math.min(this.roundTripS * 1.1 || Infinity, (performance.now() - sent[1]) / 1000);
      if (number) this.#write(this.#message("heartbeat", { echo: number }));
      return;
    }
    this.#heard.see(message);
    try {
      this.onMessage ? this.onMessage(message) : this.inbox.push(message);
    } catch (error) {
      this.fail(error);
    }
    this.notify();
  }

  // -- tags

  /** Send the message that ends what this end says of a block, with its tags; false where nothing is left to pay them. */
  async sendTagged(blockId, event, value) {
    const message = this.#message(event, value);
    this.#said.see(message);
    const hashes = this.#said.close(blockId);
    const pad = await this.#store.takePad(this.#link.peerNode, this.#link.linkId, BLOCK_PAD_BITS);
    if (!pad) return false;
    const [ofStream, ofBlock, ofDecision] = cut(pad.value);
    this.#ownPads.set(blockId, ofDecision);
    message.tags = create(TagsSchema, { pad: pad.pieces, stream: xor(hashes.stream, ofStream), block: xor(hashes.block, ofBlock) });
    this.#write(message);
    return true;
  }

  /** Check the tags of the peer's last message about a block; wrong ones end the session. */
  async checkTags(blockId, tags) {
    const hashes = this.#heard.close(blockId);
    const [ofStream, ofBlock, ofDecision] = cut(await this.#claimed(blockId, tags, BLOCK_PAD_BITS));
    if (!hashes) throw this.#forged(blockId, "UNHEARD");
    this.#demand(xor(hashes.stream, ofStream), tags.stream, blockId);
    this.#demand(xor(hashes.block, ofBlock), tags.block, blockId);
    this.#peerPads.set(blockId, ofDecision);
  }

  sendDecided(blockId, event, value) {
    const message = this.#message(event, value);
    message.tags = create(TagsSchema, { alone: xor(this.#said.alone(message), this.#ownPads.get(blockId)) });
    this.#write(message);
  }

  checkDecided(blockId, message) {
    this.#demand(xor(this.#heard.alone(message), this.#peerPads.get(blockId)), message.tags?.alone, blockId);
  }

  /** Send a settlement, with a tag when it names blocks; with nothing to pay for it, one that names none. */
  async settle(blocks) {
    const message = this.#message("settlement", { blocks });
    const pad = blocks.length ? await this.#store.takePad(this.#link.peerNode, this.#link.linkId, 8 * TAG_BYTES) : null;
    if (pad) message.tags = create(TagsSchema, { pad: pad.pieces, alone: xor(this.#said.alone(message), pad.value) });
    else message.event.value.blocks = [];
    this.#said.see(message);
    this.#write(message);
  }

  /** What a settlement says, once its tag verifies. */
  async settled(message) {
    const { blocks } = message.event.value;
    if (blocks.length) {
      const pad = await this.#claimed("settlement", message.tags, 8 * TAG_BYTES);
      this.#demand(xor(this.#heard.alone(message), pad), message.tags.alone, "settlement");
    }
    return blocks;
  }

  async #claimed(subject, tags, bits) {
    if (!tags?.pad.length) throw this.#forged(subject, "NO_TAG");
    try {
      return await this.#store.claimPad(this.#link.peerNode, tags.pad, bits);
    } catch (error) {
      throw error instanceof Refusal ? this.#forged(subject, error.reason) : error;
    }
  }

  #demand(expected, found, subject) {
    if (!found || found.length !== expected.length || !timingSafeEqual(expected, found)) throw this.#forged(subject, "WRONG_TAG");
  }

  #forged(subject, reason) { return new Trouble("authentication", `${subject}: ${reason}`); }

  forget(blockId) {
    for (const transcript of [this.#said, this.#heard]) transcript.forget(blockId);
    for (const pads of [this.#ownPads, this.#peerPads]) pads.delete(blockId);
  }
}

const cut = (pad) => [0, 1, 2].map((i) => pad.subarray(i * TAG_BYTES, (i + 1) * TAG_BYTES));

function deferred() {
  let resolve;
  return { promise: new Promise((found) => { resolve = found; }), resolve: () => resolve() };
}

function troubleOf(error) {
  const refusal = refusalOf(error);
  const known = { UNAVAILABLE: "peer-unreachable", CANCELLED: "peer-closed" }[refusal.status] ?? "session-refused";
  return new Trouble(refusal.reason === "LINK_TROUBLE" || refusal.reason === "PEER_SILENT" ? "peer-closed" : known, refusal.message);
}
