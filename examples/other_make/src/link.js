// A link's transmitting end: dials, runs a session, begins again; trouble is in the link's reason and the log.
import { setTimeout } from "node:timers/promises";
import { Emission } from "./emission.js";
import { Transmitter } from "./philox.js";
import { State } from "./record.js";
import { dial } from "./rpc.js";
import { Session } from "./session.js";
import { Trouble, Wire } from "./wire.js";

const BACKOFF_MS = 250;

export class Link {
  #link; #node; #record; #device; #counter = 0;

  constructor(link, node, record) {
    [this.#link, this.#node, this.#record] = [link, node, record];
    this.#device = new Transmitter(link.deviceSecret, link.planned.transmitterPZ, link.planned.intensityProbs);
  }

  async runForever() {
    const [peer, channel] = [this.#link.peer, this.#link.quantumChannel].map((party) => dial(party, this.#node.credentials));
    for (;;) {
      try {
        await this.#session(peer, channel);
      } catch (error) {
        const why = error instanceof Trouble ? error.why : "session-failed";
        if (this.#record.state !== State.DOWN || this.#record.reason !== why) {
          // of what was not foreseen the name alone: its text may hold anything
          const detail = error instanceof Trouble ? error.message : `${error.name} ${place(error)}`;
          this.#node.records.log("warning", "session.ended", { link_id: this.#link.linkId, reason: why, detail });
        }
        this.#record.enter(State.DOWN, why);
      }
      await setTimeout(BACKOFF_MS);
    }
  }

  async #session(peer, channel) {
    // counted before the hello is out: the receiver refuses a counter that it has seen
    const counter = ++this.#counter, node = this.#node, link = this.#link;
    const wire = new Wire(peer, { clock: node.clock, store: node.store, link, counter });
    const session = new Session(wire, { node, link, record: this.#record, device: this.#device, counter });
    try {
      await session.greet();
      await new Emission(session, channel).run();
    } catch (error) {
      if (!wire.isOver) await wire.finish();
      throw error;
    } finally {
      wire.close();
      await session.ended();
    }
  }
}

function place(error) {
  return /src\/[a-z_]+\.js:\d+/.exec(error.stack ?? "")?.[0] ?? "";
}
