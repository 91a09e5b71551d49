// What the KME holds: blocks, which of their bits are spent on what, keys (key_exchange.proto). Every change is an event:
// applied to memory at once, so that no bit is taken twice, and acknowledged when it is on the disk.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { DurableLog, Vault } from "./durable.js";
import { refusals } from "./rpc.js";
import { BLOCK_PAD_BITS } from "./transcript.js";

const LIFETIME_S = 86_400, TOMBSTONE_S = 86_400, PULSE_STRIDE = 1 << 16;
// of the own half of the pool, held back from keys: tags of 32 blocks a link
const RESERVE_BITS = 32 * BLOCK_PAD_BITS;
const SUMS = ["delivered", "voided", "expired", "quarantined", "tags"];
const total = (numbers) => numbers.reduce((sum, each) => sum + each, 0);
const sizeOf = (pieces) => total(pieces.map((piece) => piece.lengthBits));
const wallS = () => Date.now() / 1000;

export class KeyStore {
  #blocks = new Map(); #keys = new Map(); #sums = new Map(); #kept = new Map(); #pulses = new Map(); #used = new Map();
  #log; #vault; #emulatedS; incarnation = 0;

  constructor(folder, storageKeyPath, emulatedS) {
    this.#vault = new Vault(storageKeyPath || join(folder, "storage.key"), !storageKeyPath);
    this.#emulatedS = emulatedS;
    this.#log = new DurableLog(join(folder, "keys.log"), (record) => this.#apply(record), () => this.#snapshot());
  }

  /** Count one more life; keys that the last one did not get to hand out are void. */
  async begin() {
    await this.#do({ t: "incarnation", n: this.incarnation + 1 });
    const left = [...this.#keys.values()].filter((key) => key.state === "reserved").map((key) => key.id);
    if (left.length) await this.giveUp(left);
  }

  #do(record) {
    this.#apply(record);
    return this.#log.append(record);
  }

  #apply(record) {
    const block = this.#blocks.get(record.id);
    switch (record.t) {
      case "incarnation": this.incarnation = record.n; break;
      case "pulses": this.#pulses.set(record.link, record.next); break;
      case "block": this.#blocks.set(record.id, { ...record, secret: this.#opened(record) }); break;
      case "key": this.#keys.set(record.id, record); break;
      case "sums": this.#sums.set(record.peer, record); break;
      case "commit": block.state = "available"; break;
      case "confirm": block.isConfirmed = true; break;
      case "abort": this.#blocks.delete(record.id); break;
      case "quarantine":
        this.#quarantine(block);
        break;
      case "take": this.#advance(record.pieces); this.#spend(record.pieces, "tags"); break;
      case "claim": this.#claim(record.pieces); this.#spend(record.pieces, "tags"); break;
      case "reserve": this.#advance(record.keys.flatMap((key) => key.pieces)); this.#insert(record, "reserved"); break;
      case "assign": this.#claim(record.keys.flatMap((key) => key.pieces)); this.#insert(record, "assigned"); break;
      case "collect":
        for (const id of record.ids) {
          const key = this.#keys.get(id);
          key.collected.push(record.sae);
          if (key.collected.length === key.slaves.length) this.#end(key, "consumed", "delivered", record.at);
        }
        break;
      case "end": for (const id of record.ids) this.#end(this.#keys.get(id), record.state, record.sum, record.at); break;
      case "voided": for (const id of record.ids) this.#keys.get(id).state = "voided"; break;
      case "voidUnknown":
        for (const { id, pieces } of record.keys) {
          const held = pieces.filter((piece) => this.#blocks.has(piece.blockId));
          this.#claim(held);
          this.#spend(held, "voided");
          this.#keys.set(id, { t: "key", id, peer: record.peer, state: "voided", pieces: [], slaves: [], at: record.at });
        }
    }
  }

  #opened({ sealed, id }) { return sealed ? this.#vault.open(sealed, `block ${id}`) : null; }

  #insert({ keys, peer, master, slaves, expiresS, at }, state) {
    for (const { id, pieces } of keys) {
      this.#keys.set(id, { t: "key", id, pieces, peer, master, slaves, collected: [], state, expiresS, at });
    }
  }

  #end(key, state, sum, at) {
    this.#spend(key.pieces, sum);
    [key.state, key.at] = [state, at];
  }

  #advance(pieces) {
    for (const { blockId, offsetBits, lengthBits } of pieces) this.#blocks.get(blockId).ownNext = offsetBits + lengthBits;
  }

  #claim(pieces) {
    for (const { blockId, offsetBits, lengthBits } of pieces) this.#blocks.get(blockId).claimed.push([offsetBits, offsetBits + lengthBits]);
  }

  /** The bits have lost their value: they are overwritten, and a block of which nothing is left goes. */
  #spend(pieces, sum) {
    for (const { blockId, offsetBits, lengthBits } of pieces) {
      const block = this.#blocks.get(blockId);
      if (!block) continue;
      block.secret.fill(0, offsetBits / 8, (offsetBits + lengthBits) / 8);
      block.live -= lengthBits;
      if (!block.isPreshared) this.#count(block.peer, sum, lengthBits);
      if (block.live === 0 && !block.isPreshared) this.#blocks.delete(blockId);
    }
  }

  /** Nothing of it is given any more, and what was not given is destroyed; keys given before stay. */
  #quarantine(block) {
    const lost = this.#ownLeft(block) + this.#peerLeft(block), stays = Buffer.alloc(block.secret.length);
    const pieces = [...this.#keys.values()].filter((key) => ["reserved", "assigned"].includes(key.state)).flatMap((key) => key.pieces);
    for (const { blockId, offsetBits, lengthBits } of pieces) {
      if (blockId === block.id) block.secret.copy(stays, offsetBits / 8, offsetBits / 8, (offsetBits + lengthBits) / 8);
    }
    this.#count(block.peer, "quarantined", lost);
    Object.assign(block, { state: "quarantined", isConfirmed: true, secret: stays, ownNext: block.ownEnd, live: block.live - lost });
    block.claimed.push([block.peerStart, block.peerEnd]);
    if (block.live === 0) this.#blocks.delete(block.id);
  }

  #count(peer, sum, bits) {
    if (!this.#sums.has(peer)) this.#sums.set(peer, { t: "sums", peer, ...Object.fromEntries(SUMS.map((name) => [name, 0])) });
    this.#sums.get(peer)[sum] += bits;
  }

  *#snapshot() {
    yield { t: "incarnation", n: this.incarnation };
    for (const [link, next] of this.#pulses) yield { t: "pulses", link, next };
    for (const { secret, ...block } of this.#blocks.values()) yield { ...block, sealed: this.#vault.seal(secret, `block ${block.id}`) };
    for (const key of this.#keys.values()) {
      const isOver = ["consumed", "expired", "voided"].includes(key.state);
      if (!isOver || wallS() - key.at < TOMBSTONE_S) yield key;
    }
    yield* this.#sums.values();
  }

  /** Return the first of `count` pulse blocks of a link that were never used; strides of them are durable ahead. */
  async pulseBlocks(link, count) {
    const first = this.#used.get(link) ?? this.#pulses.get(link) ?? 0;
    this.#used.set(link, first + count);
    if (first + count > (this.#pulses.get(link) ?? 0)) {
      await this.#do({ t: "pulses", link, next: first + Math.max(count, PULSE_STRIDE) });
    }
    return first;
  }

  // -- blocks: PREPARED -> AVAILABLE (confirmed or not) -> nothing left; the transmitter's half is the first

  #halves(bits) {
    const middle = Math.floor(bits / 2), start = 8 * Math.ceil(middle / 8);
    return { ownNext: 0, ownEnd: 8 * Math.floor(middle / 8), peerStart: start, peerEnd: Math.max(8 * Math.floor(bits / 8), start) };
  }

  #hold(id, link, peer, secret, bits, fields) {
    const halves = this.#halves(bits), live = halves.ownEnd + halves.peerEnd - halves.peerStart;
    const sealed = this.#vault.seal(secret, `block ${id}`);
    return this.#do({ t: "block", id, link, peer, bits, sealed, ...halves, live, claimed: [], ...fields });
  }

  prepare(id, link, peer, secret, bits) {
    return this.#hold(id, link, peer, secret, bits, { state: "prepared", isConfirmed: false, isPreshared: false });
  }

  /** Hold what was shared beforehand on a link, once, and hold back from keys what its tags cost. */
  async share(link, peer, secret) {
    const id = `${link}/preshared/0`;
    this.#kept.set(peer, (this.#kept.get(peer) ?? 0) + RESERVE_BITS);
    if (!this.#blocks.has(id)) {
      await this.#hold(id, link, peer, secret, 8 * secret.length, { state: "available", isConfirmed: true, isPreshared: true });
    }
  }

  commit(id) { return this.#do({ t: "commit", id }); }
  confirm(id) { return this.#do({ t: "confirm", id }); }
  abort(id) { return this.#do({ t: "abort", id }); }
  quarantine(id) { return this.#do({ t: "quarantine", id }); }
  stateOf(id) { return this.#blocks.get(id)?.state; }

  /** Blocks of a link in doubt: PREPARED, or AVAILABLE and not confirmed. */
  inDoubt(link) {
    return [...this.#blocks.values()].filter((block) => block.link === link && !block.isConfirmed && !block.isPreshared);
  }

  // -- bits

  #ownLeft(block) { return block.ownEnd - block.ownNext; }
  #peerLeft(block) { return block.peerEnd - block.peerStart - total(block.claimed.map(([start, end]) => end - start)); }
  #pool(peer) { return [...this.#blocks.values()].filter((block) => block.peer === peer && !block.isPreshared && block.state === "available"); }
  #ownBits(peer) { return total(this.#pool(peer).filter((block) => block.isConfirmed).map((block) => this.#ownLeft(block))); }

  /** What became of the bits shared with a peer; the names of PoolStatus. */
  pool(peer) {
    const blocks = this.#pool(peer), own = this.#ownBits(peer), keptBits = Math.min(own, this.#kept.get(peer) ?? 0);
    const ofKeys = (state) => total([...this.#keys.values()].filter((key) => key.peer === peer && key.state === state).map((key) => sizeOf(key.pieces)));
    const sums = this.#sums.get(peer) ?? {};
    const pool = {
      availableBits: own - keptBits, keptBits,
      unconfirmedBits: total(blocks.filter((block) => !block.isConfirmed).map((block) => this.#ownLeft(block))),
      peerAvailableBits: total(blocks.map((block) => this.#peerLeft(block))),
      reservedBits: ofKeys("reserved"), assignedBits: ofKeys("assigned"),
    };
    const heldBits = total(Object.values(pool));
    const ended = Object.fromEntries(SUMS.map((name) => [`${name}Bits`, sums[name] ?? 0]));
    return { ...pool, ...ended, heldBits, madeBits: heldBits + total(Object.values(ended)) };
  }

  /** Name the next `bits` of the own half, not taken yet. */
  #cut(peer, bits, start) {
    const pieces = [];
    for (const block of this.#pool(peer)) {
      if (!block.isConfirmed) continue;
      const offsetBits = start.get(block.id) ?? block.ownNext;
      const lengthBits = Math.min(bits, block.ownEnd - offsetBits);
      if (lengthBits <= 0) continue;
      pieces.push({ blockId: block.id, offsetBits, lengthBits });
      start.set(block.id, offsetBits + lengthBits);
      if ((bits -= lengthBits) === 0) return pieces;
    }
    return null;
  }

  #value(pieces) {
    return Buffer.concat(pieces.map(({ blockId, offsetBits, lengthBits }) =>
      Buffer.from(this.#blocks.get(blockId).secret.subarray(offsetBits / 8, (offsetBits + lengthBits) / 8))));
  }

  /** Spend bits of the own half to authenticate with: {pieces, value}; null when there are none. */
  async takePad(peer, link, bits) {
    const shared = this.#blocks.get(`${link}/preshared/0`);
    let pieces = null;
    if (this.pool(peer).availableBits >= bits) pieces = this.#cut(peer, bits, new Map());
    else if (shared && this.#ownLeft(shared) >= bits) pieces = [{ blockId: shared.id, offsetBits: shared.ownNext, lengthBits: bits }];
    else if (this.#ownBits(peer) >= bits) pieces = this.#cut(peer, bits, new Map());
    if (!pieces) return null;
    const value = this.#value(pieces);
    await this.#do({ t: "take", pieces });
    return { pieces, value };
  }

  /** Spend the bits that the peer authenticates with, and return them. Throws when they are not the peer's to spend. */
  async claimPad(peer, named, bits) {
    const pieces = plain(named);
    if (sizeOf(pieces) !== bits) throw refusals.badInput(`the pad is not of ${bits} bits`);
    if (this.#unusable(peer, pieces, true).length) throw refusals.conflict("a block of the pad is not held here");
    const value = this.#value(pieces);
    await this.#do({ t: "claim", pieces });
    return value;
  }

  /** Check that the peer may give these pieces; return those whose block is not held here. */
  #unusable(peer, pieces, isPad) {
    const seen = new Map();
    return pieces.filter(({ blockId, offsetBits, lengthBits }) => {
      const block = this.#blocks.get(blockId), end = offsetBits + lengthBits;
      if (!block || block.state === "quarantined") return true;
      if (block.peer !== peer) throw refusals.denied(`block ${blockId}: is not shared with ${peer}`);
      if (block.state !== "available") throw refusals.pending(`block ${blockId}: is not available yet`);
      const isWhole = offsetBits % 8 === 0 && lengthBits % 8 === 0 && lengthBits > 0;
      if (!isWhole || offsetBits < block.peerStart || end > block.peerEnd || (block.isPreshared && !isPad)) {
        throw refusals.badInput(`block ${blockId}: bits that ${peer} may not give`);
      }
      const taken = [...block.claimed, ...(seen.get(blockId) ?? [])];
      if (taken.some(([from, to]) => from < end && offsetBits < to)) throw refusals.conflict(`block ${blockId}: bits were given before`);
      seen.set(blockId, [...(seen.get(blockId) ?? []), [offsetBits, end]]);
      return false;
    });
  }

  // -- keys

  /** As the master's KME: take `number` keys out of the own half; null when there is less than asked for. */
  async reserve(master, slaves, peer, number, sizeBits) {
    if (this.pool(peer).availableBits < number * sizeBits) return null;
    const start = new Map();
    const keys = Array.from({ length: number }, () => ({ id: randomUUID(), pieces: this.#cut(peer, sizeBits, start) }));
    await this.#do({ t: "reserve", keys, peer, master, slaves, at: wallS() });
    return keys;
  }

  /** Hand reserved keys to their master: [id, value]. */
  async deliver(ids) {
    const keys = ids.map((id) => this.#keys.get(id));
    if (keys.some((key) => key?.state !== "reserved")) throw refusals.conflict("a key is not reserved any more");
    const values = keys.map((key) => [key.id, this.#value(key.pieces)]);
    await this.#do({ t: "end", ids, state: "consumed", sum: "delivered", at: wallS() });
    return values;
  }

  /** Give reserved keys up; the peer is to be told until it confirms. */
  giveUp(ids) { return this.#do({ t: "end", ids, state: "voiding", sum: "voided", at: wallS() }); }
  voiding(peer) { return [...this.#keys.values()].filter((key) => key.peer === peer && key.state === "voiding"); }
  voided(ids) { return this.#do({ t: "voided", ids }); }

  /** As the slave's KME: hold keys durably, all or none; returns ids of blocks that are not held here. */
  async assign(peer, master, slaves, keys, lifetimeS) {
    const fresh = keys.filter(({ id, pieces }) => {
      const known = this.#keys.get(id);
      if (!known) return true;
      const isSame = ["assigned", "consumed"].includes(known.state) && known.peer === peer && known.master === master &&
        JSON.stringify([known.slaves, known.pieces]) === JSON.stringify([slaves, pieces]);
      if (!isSame) throw refusals.conflict(`key ${id}: is known already, as another one or ended`);
      return false;
    });
    const unusable = this.#unusable(peer, fresh.flatMap((key) => key.pieces), false);
    if (unusable.length) return [...new Set(unusable.map((piece) => piece.blockId))].sort();
    const expiresS = this.#emulatedS() + (lifetimeS || LIFETIME_S);
    if (fresh.length) await this.#do({ t: "assign", keys: fresh, peer, master, slaves, expiresS, at: wallS() });
    return [];
  }

  /** The master gave these up: never again under these ids, and their bits are spent. */
  async voidAssigned(peer, keys) {
    const known = keys.map(({ id }) => this.#keys.get(id)).filter((key) => key);
    if (known.some((key) => key.peer !== peer)) throw refusals.denied(`a key is not shared with ${peer}`);
    const ids = known.filter((key) => key.state === "assigned").map((key) => key.id);
    if (ids.length) await this.#do({ t: "end", ids, state: "voided", sum: "voided", at: wallS() });
    const unknown = keys.filter(({ id }) => !this.#keys.has(id));
    this.#unusable(peer, unknown.flatMap((key) => key.pieces), false);
    if (unknown.length) await this.#do({ t: "voidUnknown", peer, keys: unknown, at: wallS() });
  }

  /** Hand keys to one of their slaves, all or none: [id, value]; "unnamed" or "missing" where that may not be. */
  async collect(sae, master, ids) {
    const keys = ids.map((id) => this.#keys.get(id));
    if (keys.some((key) => key && !key.slaves.includes(sae) && key.master !== sae)) return "unnamed";
    const isThere = (key) => key?.state === "assigned" && key.master === master && key.slaves.includes(sae) &&
      !key.collected.includes(sae) && key.expiresS > this.#emulatedS();
    if (!keys.every(isThere)) return "missing";
    const values = keys.map((key) => [key.id, this.#value(key.pieces)]);
    await this.#do({ t: "collect", ids, sae, at: wallS() });
    return values;
  }

  /** End what was not collected in time. */
  async sweep() {
    const isLate = (key) => key.state === "assigned" && key.expiresS <= this.#emulatedS();
    const ids = [...this.#keys.values()].filter(isLate).map((key) => key.id);
    if (ids.length) await this.#do({ t: "end", ids, state: "expired", sum: "expired", at: wallS() });
  }
}

/** KeyPiece messages as plain values, in an order of fields that does not change. */
export function plain(pieces) {
  return pieces.map(({ blockId, offsetBits, lengthBits }) => ({ blockId, offsetBits, lengthBits }));
}
