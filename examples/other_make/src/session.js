// One session with the receiver: hello, settlement of blocks in doubt, answers to reports, blocks.
import { BlockInDoubt_Holding as Holding } from "../generated/qnetem/v1/link_session_pb.js";
import { pack, unpack } from "./bits.js";
import { Block } from "./block.js";
import { Monitor } from "./monitor.js";
import { Clock, PS_PER_S } from "./process.js";
import { Assembler } from "./sifting.js";
import { BLOCK_PULSES, isSlipped, missedSlots, pulses } from "./slots.js";
import { BLOCK_PAD_BITS } from "./transcript.js";
import { HEARTBEAT_MS, refused, SILENCE_MS } from "./wire.js";

const GREETING_MS = 10_000, MOST_BLOCKS = 12, MOST_BITS = 24_000_000;
const BLOCK_EVENTS = new Set(["parityQuery", "blockCorrected", "blockPrepared", "blockCommitted"]);

export class Session {
  #trains = new Map(); #jobs = new Map(); #running = new Set(); #assembler; findings = null; isReceiving = false; qber = 0;

  constructor(wire, { node, link, record, device, counter }) {
    Object.assign(this, { wire, node, link, record, device, counter, store: node.store });
    this.#assembler = new Assembler(link.protocol.blockRampBits);
    this.monitor = new Monitor(link.protocol);
  }

  /** Agree with the receiver on the session, and settle the blocks in doubt. */
  async greet() {
    const { wire, store, link } = this, { linkId, protocol } = link;
    wire.send("hello", { linkId, incarnation: BigInt(store.incarnation), sessionCounter: BigInt(this.counter), protocol, heartbeatMs: HEARTBEAT_MS, silenceMs: SILENCE_MS });
    const hello = (await wire.next("hello", GREETING_MS)).event.value;
    if (hello.sessionCounter !== BigInt(this.counter) || hello.linkId !== linkId) throw refused("the answer belongs to another session");
    // none of them was decided: a session that is over decides nothing any more
    for (const block of store.inDoubt(linkId)) if (block.state === "prepared") await store.abort(block.id);
    const asked = (await wire.settled(await wire.next("settlement", GREETING_MS))).map((block) => block.blockId);
    if (asked.some((id) => !id.startsWith(`${linkId}/`))) throw refused("a block of another link is in doubt");
    const unconfirmed = new Set(store.inDoubt(linkId).map((block) => block.id));
    const listed = new Map([...unconfirmed].map((id) => [id, Holding.AVAILABLE]));
    for (const id of asked) listed.set(id, store.stateOf(id) === "available" ? Holding.AVAILABLE : Holding.ABORTED);
    await wire.settle([...listed].map(([blockId, holding]) => ({ blockId, holding })));
    for (const { blockId, holding } of await wire.settled(await wire.next("settlement", GREETING_MS))) {
      if (!unconfirmed.has(blockId)) continue;
      if (holding === Holding.AVAILABLE) {
        await store.confirm(blockId);
      } else {
        await store.quarantine(blockId);
        this.node.records.journal("key.block.quarantined", { link_id: linkId, block_id: blockId });
      }
    }
    if (listed.size) this.node.records.journal("session.settled", { link_id: linkId, blocks_count: listed.size });
    wire.onMessage = (message) => this.#take(message);
    for (const message of wire.inbox.splice(0)) this.#take(message);
  }

  #take({ event, ...message }) {
    this.record.figures.roundTripS = this.wire.roundTripS;
    if (event.case === "siftReport") this.#sift(event.value);
    else if (event.case === "receiver") this.isReceiving = event.value.isReceiving;
    else if (event.case === "findings") this.monitor.seeFindings((this.findings = event.value));
    // a late message about a block that was dropped here finds no job
    else if (BLOCK_EVENTS.has(event.case)) this.#jobs.get(event.value.blockId)?.deliver({ event, ...message });
    else throw refused(`link ${this.link.linkId}: unexpected ${event.case}`);
  }

  /** Tell the receiver of a train that is about to be emitted. `tally`: of a test train. */
  announce(first, blockCount, startPs, tally) {
    const train = { first, blockCount, startPs, tally, nextPart: 0, last: -1, clicks: 0, isSlipped: false, isSifted: false };
    this.#trains.set(BigInt(first), train);
    this.wire.send("train", { trainId: BigInt(first), blockCount, isTest: tally !== null, start: Clock.toWire(startPs) });
    return train;
  }

  #sift(report) {
    const train = this.#trains.get(report.trainId), { record, node } = this;
    if (!train || report.part !== train.nextPart) throw refused(`train ${report.trainId}: part ${report.part} was not expected`);
    train.nextPart++;
    const { named, bases, values } = this.#named(report, train), isTest = train.tally !== null;
    const sent = this.device.choices(named), nowS = node.clock.nowS();
    const matches = sent.bases.map((basis, i) => (basis === bases[i] ? 1 : 0));
    const isDisclosed = (i) => matches[i] && (isTest || sent.bases[i] === 1);
    const disclosed = sent.bits.filter((_, i) => isDisclosed(i));
    let shift = 0;
    if (isTest) {
      const compared = disclosed.length, errors = values.filter((value, i) => matches[i] && value !== sent.bits[i]).length;
      // once a train: what the receiver had reported before it knew is as wrong
      if (isSlipped(errors, compared) && !train.isSlipped) shift = missedSlots(this.device, named, bases, values);
      train.isSlipped ||= shift !== 0;
      train.tally.clicks += named.length;
      if (!train.isSlipped) [train.tally.sifted, train.tally.errors] = [train.tally.sifted + compared, train.tally.errors + errors];
    }
    this.wire.send("siftAnswer", {
      trainId: report.trainId, part: report.part, matches: pack(matches), intensities: pack(sent.levels), disclosed: pack(disclosed), slotShift: shift,
    });
    train.clicks += named.length;
    record.clicks.add(named.length, nowS);
    this.monitor.seeX(Number(report.comparedXCount), Number(report.xErrorCount));
    if (report.isLast) {
      this.#trains.delete(report.trainId);
      if (isTest) train.tally.trains++;
      this.monitor.seeTrain(train.clicks);
      train.isSifted = true;
    }
    if (isTest) return;
    record.sifted.add(matches.filter((match, i) => match && sent.bases[i] === 0).length, nowS);
    for (let i = 0; i < named.length; i++) {
      const raw = matches[i] ? this.#assembler.add(sent.bases[i], sent.levels[i], sent.bits[i]) : null;
      if (raw) this.#start(raw);
    }
  }

  /** The pulses that a report names: each once, of its train, and none before it was emitted. */
  #named(report, train) {
    const what = `train ${report.trainId}`;
    let found;
    try {
      const { pulses: named, blockCount } = pulses(report);
      const end = Number(report.firstBlock) + blockCount;
      if (Number(report.firstBlock) < train.first || end > train.first + train.blockCount) throw new RangeError("blocks outside of it were reported");
      const bases = unpack(report.bases, named.length, "bases");
      found = { named, bases, values: train.tally ? unpack(report.values, named.length, "values") : null };
    } catch (error) {
      throw refused(`${what}: ${error.message}`);
    }
    let { last } = train;
    for (const pulse of found.named) {
      if (pulse <= last) throw refused(`${what}: a pulse was reported twice or out of order`);
      last = pulse;
    }
    if (!found.named.length) return found;
    const begin = train.first * BLOCK_PULSES;
    if (found.named[0] < begin || last >= begin + train.blockCount * BLOCK_PULSES) throw refused(`${what}: a click outside of it was reported`);
    const emittedPs = train.startPs + BigInt(Math.floor(((last - begin) * Number(PS_PER_S)) / this.link.planned.clockHz));
    if (this.node.clock.nowPs() < emittedPs) throw refused(`${what}: a pulse was reported before it was emitted`);
    train.last = last;
    return found;
  }

  // -- blocks

  #start(raw) {
    const id = `${this.link.linkId}/${this.store.incarnation}.${this.counter}.${raw.number}`;
    const job = new Block(id, raw, this);
    this.#jobs.set(id, job);
    const run = job.run(this.qber).then((made) => {
      this.record.countBlock(id, raw.zBits.length, made, BLOCK_PAD_BITS);
      this.isStarved = made.reason === "auth-starved";
      this.qber = made.qber;
      this.monitor.seeBlock(made);
    }).catch((error) => this.wire.fail(error)).finally(() => {
      this.#jobs.delete(id);
      this.#running.delete(run);
      this.wire.notify();
    });
    this.#running.add(run);
  }

  get hasRoom() {
    const bits = [...this.#jobs.values()].reduce((sum, job) => sum + job.raw.zBits.length, 0);
    return this.#jobs.size < MOST_BLOCKS && bits <= MOST_BITS;
  }

  get isDrained() { return this.#jobs.size === 0; }

  /** Wait until nothing of it runs any more: a session that is over decides nothing. */
  async ended() { await Promise.allSettled([...this.#running]); }
}
