// The transmitter's source at work: commissioning by test trains, then train after train, until there is trouble.
import { create } from "@bufbuild/protobuf";
import { QuantumChannelService, TransmitRequestSchema } from "../generated/qnetem/v1/quantum_channel_pb.js";
import { Tally, Trim } from "./monitor.js";
import { Clock, PS_PER_S } from "./process.js";
import { State } from "./record.js";
import { bidi, unary } from "./rpc.js";
import { BLOCK_PULSES } from "./slots.js";
import { Trouble } from "./wire.js";

// trains announced and not sifted yet; wall milliseconds: ahead of a first pulse, behind which trains are given up, between
// attempts, for a train that is not sifted, to finish blocks, between looks at a full pool
const IN_FLIGHT = 2, LEAD_MS = 50, LAG_MS = 2000, AHEAD_MS = 20_000, PROBE_MS = 500, TRAIN_MS = 15_000, DRAIN_MS = 10_000, IDLE_MS = 250;
const SETUP_TRAINS = 64, IDLE_TEST_S = 3, IDLE_CLICKS = 20_000, CALL_MS = 5000;

export class Emission {
  #session; #stream; #client; #trim = new Trim(); #nextPs = null; #isReady = false;

  constructor(session, client) {
    [this.#session, this.#client] = [session, client];
    const { clockHz } = session.link.planned;
    this.#durationPs = (blocks) => BigInt(Math.round((blocks * BLOCK_PULSES * 1e12) / clockHz));
  }

  #durationPs;

  /** Emit until there is trouble; throws it. What was in post-processing has been finished then. */
  async run() {
    const { wire, record, link, node } = this.#session;
    const lost = (error) => (error instanceof Trouble ? error : new Trouble("quantum-channel-lost", error.message));
    this.#stream = bidi(this.#client, QuantumChannelService, "transmit");
    const failed = new Promise((_, reject) => {
      this.#stream.on("data", ({ event }) => this.#heard(event, reject));
      this.#stream.on("error", (error) => reject(lost(error)));
      this.#stream.on("end", () => reject(new Trouble("quantum-channel-lost")));
    });
    failed.catch(() => {});
    try {
      this.#stream.write(create(TransmitRequestSchema, { event: { case: "hello", value: { linkId: link.linkId } } }));
      await Promise.race([failed, wire.until(() => this.#isReady, CALL_MS, "quantum-channel-lost")]);
      const work = this.#work();
      work.catch(() => {});
      await Promise.race([failed, work]);
    } catch (error) {
      this.#isOver = true;
      const trouble = lost(error);
      if (!wire.isOver) {
        node.records.log("warning", "link.left.service", { link_id: link.linkId, reason: trouble.why, detail: trouble.message });
        this.#enter(State.DOWN, trouble.why);
        await wire.until(() => this.#session.isDrained, DRAIN_MS).catch(() => {});
      }
      record.figures.isIdle = false;
      throw trouble;
    } finally {
      this.#stream.cancel();
    }
  }

  #isOver = false;

  #heard(event, reject) {
    const { record, monitor, wire } = this.#session;
    if (event.case === "ready") this.#isReady = true;
    if (event.case === "done") {
      const { isDelivered, lagPs, backReflectionPhotons, powerRatio } = event.value;
      record.figures.lagS = Number(lagPs) / 1e12;
      monitor.seeReflection(backReflectionPhotons);
      const ratio = this.#trim.see(powerRatio);
      if (ratio) this.#tune(ratio).catch((error) => reject(new Trouble("quantum-channel-lost", error.message)));
      if (!isDelivered) reject(new Trouble("receiver-not-listening"));
    }
    wire.notify();
  }

  async #tune(intensityTrimRatio) {
    const { link, record } = this.#session;
    await unary(this.#client, QuantumChannelService, "tune", { linkId: link.linkId, intensityTrimRatio }, CALL_MS);
    record.figures.intensityTrimRatio = intensityTrimRatio;
  }

  async #work() {
    const session = this.#session, { wire, monitor, record } = session, inFlight = [];
    await this.#tune(this.#trim.ratio);
    await this.#commission();
    for (;;) {
      await this.#idleWhileFull(inFlight);
      await wire.until(() => session.hasRoom);
      if (inFlight.length >= IN_FLIGHT) await this.#sifted(inFlight.shift());
      this.#judge();
      if (monitor.qberX !== null && !record.counts.blocksMadeCount) record.figures.qberProb = monitor.qberX;
      inFlight.push(await this.#emit(null, session.link.protocol.trainBlocks));
    }
  }

  #judge() {
    const { monitor, isStarved } = this.#session;
    if (monitor.trouble) throw new Trouble(monitor.trouble);
    const worry = isStarved ? "auth-starved" : monitor.worry;
    this.#enter(worry ? State.DEGRADED : State.OPERATING, worry);
  }

  #enter(state, reason = "") {
    if (this.#session.record.enter(state, reason)) this.#tell();
  }

  #tell() {
    const { wire, record } = this.#session;
    wire.send("linkState", { state: record.state, reason: record.reason });
  }

  async #commission() {
    const session = this.#session, { wire, record, monitor, node } = session;
    // a link that is known to be bad stays DOWN while it is probed
    if (!["no-light", "too-faint", "qber", "clock-lost"].includes(record.reason) && !monitor.found) record.enter(State.COMMISSIONING);
    this.#tell();
    for (;;) {
      await wire.until(() => session.isReceiving, TRAIN_MS, "receiver-not-listening");
      const { tally, trouble } = await this.#test();
      this.#nextPs = null;
      if (!trouble && record.state === State.COMMISSIONING) {
        session.qber = record.figures.qberProb = tally.qber;
        monitor.usualClicks = tally.clicks / tally.trains;
        break;
      }
      this.#enter(...(trouble ? [State.DOWN, trouble] : [State.COMMISSIONING]));
      if (trouble) await wire.sleep(PROBE_MS);
    }
    this.#enter(State.OPERATING);
    const figures = { time_to_service_s: record.figures.timeToServiceS, qber_prob: record.figures.qberProb };
    node.records.journal("link.commissioned", { link_id: session.link.linkId, ...figures });
  }

  /** Emit test trains until they allow a verdict; while the receiver is being set up they show nothing of the link. */
  async #test() {
    const { link, monitor, record } = this.#session, { trainBlocks, qberAbortProb } = link.protocol;
    let tally = new Tally(qberAbortProb, record.reason);
    for (let setup = 0; ;) {
      const train = await this.#emit(tally, trainBlocks);
      const { step } = await this.#found(train);
      if ((step || train.isSlipped) && (tally.clicks || step === "gate") && setup++ < SETUP_TRAINS) {
        tally = new Tally(qberAbortProb, record.reason);
      } else if (monitor.found || !tally.needsMore) {
        return { tally, trouble: monitor.found || tally.trouble || (step ? "clock-lost" : "") };
      }
    }
  }

  async #found(train) {
    const session = this.#session;
    await this.#sifted(train);
    await session.wire.until(() => session.findings && session.findings.trainId >= BigInt(train.first), TRAIN_MS, "train-lost");
    return session.findings;
  }

  /** Make no key while there is enough of it, and watch the link all the same. */
  async #idleWhileFull(inFlight) {
    const { link, store, record, monitor, wire, node } = this.#session, usual = monitor.usualClicks;
    const blocks = Math.max(1, Math.round(link.protocol.trainBlocks * Math.min(1, IDLE_CLICKS / Math.max(1, usual))));
    let testedS = node.clock.nowS();
    while (store.pool(link.peerNode).heldBits >= Number(link.protocol.poolHighWaterBits)) {
      while (inFlight.length) await this.#sifted(inFlight.shift());
      record.figures.isIdle = true;
      monitor.usualClicks = (usual * blocks) / link.protocol.trainBlocks;
      this.#nextPs = null;
      if (node.clock.nowS() - testedS >= IDLE_TEST_S * Math.min(1, node.clock.scale)) {
        const tally = new Tally(link.protocol.qberAbortProb, "");
        await this.#found(await this.#emit(tally, blocks));
        if (tally.clicks && tally.sifted >= 200 && tally.trouble) throw new Trouble(tally.trouble);
        this.#judge();
        testedS = node.clock.nowS();
      }
      await wire.sleep(IDLE_MS);
    }
    record.figures.isIdle = false;
    monitor.usualClicks = usual;
  }

  async #emit(tally, blocks) {
    const { store, link, node, wire } = this.#session;
    const first = await store.pulseBlocks(link.linkId, blocks), startPs = this.#start(blocks);
    await wire.sleep(node.clock.wallMs(startPs - node.clock.nowPs()) - AHEAD_MS);
    if (this.#isOver) throw new Trouble("quantum-channel-lost");
    const train = this.#session.announce(first, blocks, startPs, tally), id = BigInt(first);
    const value = { trainId: id, firstBlock: id, blockCount: blocks, start: Clock.toWire(startPs) };
    this.#stream.write(create(TransmitRequestSchema, { event: { case: "train", value } }));
    return train;
  }

  /** When the next train starts: without a gap behind the last, unless the link is so late that some are given up. */
  #start(blocks) {
    const { node, record } = this.#session, nowPs = node.clock.nowPs(), durationPs = this.#durationPs(blocks);
    const wallPs = (ms) => BigInt(Math.floor(ms * node.clock.scale)) * (PS_PER_S / 1000n);
    this.#nextPs ??= nowPs + wallPs(LEAD_MS);
    if (nowPs - this.#nextPs > wallPs(LAG_MS) + 2n * durationPs) {
      const missed = (nowPs - this.#nextPs) / durationPs;
      record.counts.discardedTrainsCount += missed;
      this.#nextPs += missed * durationPs;
    }
    const startPs = this.#nextPs;
    this.#nextPs += durationPs;
    return startPs;
  }

  async #sifted(train) {
    const { wire, node } = this.#session;
    await wire.until(() => train.isSifted, TRAIN_MS + node.clock.wallMs(this.#durationPs(train.blockCount)), "train-lost");
  }
}
