// Between the KMEs of two nodes (key_exchange.proto): what is held for a neighbour's master, and keys given to it.
import { KeyExchangeService } from "../generated/qnetem/v1/key_exchange_pb.js";
import { plain } from "./keys.js";
import { dial, Refusal, refusals, unary } from "./rpc.js";

const MOST_KEYS = 1024, MOST_ASSIGNMENTS = 64, CALL_MS = 1000, RETRY_MS = 1000;
const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class Exchange {
  #node; #clients; #places;

  constructor(node) {
    this.#node = node;
    const { links, saePlaces } = node.config.role.value;
    this.#places = new Map(saePlaces.map((place) => [place.saeId, place.node]));
    this.#clients = new Map(links.map((link) => [link.peerNode, dial(link.peer, node.credentials)]));
  }

  placeOf(sae) { return this.#places.get(sae); }
  isNeighbour(node) { return this.#clients.has(node); }

  // -- for the masters of neighbours

  get service() {
    return [KeyExchangeService, {
      assignKeys: (request, { uri }) => this.#assign(this.#peer(uri), request),
      assignKeysBatch: async ({ assignments }, { uri }) => {
        if (assignments.length < 1 || assignments.length > MOST_ASSIGNMENTS) throw refusals.badInput(`${assignments.length} assignments`);
        const peer = this.#peer(uri);
        return { outcomes: await Promise.all(assignments.map((one) => this.#outcome(peer, one))) };
      },
      voidKeys: async (request, { uri }) => {
        await this.#node.store.voidAssigned(this.#peer(uri), named(request.keys));
        return {};
      },
    }, (uri) => this.isNeighbour(this.#peer(uri))];
  }

  #peer(uri) {
    const prefix = `spiffe://${this.#node.config.testbed}/node/`;
    return uri.startsWith(prefix) ? uri.slice(prefix.length) : "";
  }

  async #outcome(peer, request) {
    try {
      return { outcome: { case: "response", value: await this.#assign(peer, request) } };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { outcome: { case: "refusal", value: { status: error.status, reason: error.reason, detail: error.message } } };
    }
  }

  async #assign(peer, { masterSaeId, slaveSaeIds, keys, lifetimeS, kem }) {
    if (this.placeOf(masterSaeId) !== peer) throw refusals.denied(`SAE ${masterSaeId} is not attached to ${peer}`);
    if (!slaveSaeIds.length || new Set(slaveSaeIds).size !== slaveSaeIds.length) throw refusals.badInput("slave_sae_ids is empty or names an SAE twice");
    for (const slave of slaveSaeIds) {
      if (this.placeOf(slave) !== this.#node.config.name) throw refusals.badInput(`SAE ${slave} is not attached to ${this.#node.config.name}`);
    }
    if (kem) throw refusals.badInput(`${this.#node.config.name} holds no hybrid keys`);
    if (!(lifetimeS >= 0 && lifetimeS < Infinity)) throw refusals.badInput("lifetime_s is not at least 0");
    const unusableBlockIds = await this.#node.store.assign(peer, masterSaeId, slaveSaeIds, named(keys), lifetimeS);
    return { unusableBlockIds };
  }

  // -- for the masters attached here

  /** Return `number` new keys, [id, value], which the slaves' KME holds durably by then; null where there are not enough. */
  async issue(master, slaves, peer, number, sizeBits) {
    const { store } = this.#node, client = this.#clients.get(peer);
    // an outage burns what was under way, and nothing more
    if (store.voiding(peer).length && !(await this.#void(peer))) throw unavailable(peer, "does not answer");
    const keys = await store.reserve(master, slaves, peer, number, sizeBits);
    if (!keys) return null;
    const ids = keys.map((key) => key.id);
    try {
      const request = { masterSaeId: master, slaveSaeIds: slaves, keys: keys.map(({ id, pieces }) => ({ keyId: id, pieces })) };
      const { unusableBlockIds } = await unary(client, KeyExchangeService, "assignKeys", request, CALL_MS);
      const taken = new Set(keys.flatMap((key) => key.pieces.map((piece) => piece.blockId)));
      const unusable = unusableBlockIds.filter((id) => taken.has(id));
      if (!unusable.length) return await store.deliver(ids);
      for (const id of unusable) await store.quarantine(id);
      throw unavailable(peer, "does not hold the blocks that it should");
    } catch (error) {
      await store.giveUp(ids);
      await this.#void(peer);
      throw error instanceof Refusal ? unavailable(peer, `did not take the keys (${error.reason || error.status})`) : error;
    }
  }

  /** Tell a peer of keys that were given up; false while it does not confirm. */
  async #void(peer) {
    const keys = this.#node.store.voiding(peer).slice(0, MOST_KEYS / 2);
    try {
      await unary(this.#clients.get(peer), KeyExchangeService, "voidKeys", { keys: keys.map(({ id, pieces }) => ({ keyId: id, pieces })) }, CALL_MS);
    } catch {
      return false;
    }
    await this.#node.store.voided(keys.map((key) => key.id));
    return true;
  }

  /** Bring voids to their peers and let keys expire, for ever. */
  sweep() {
    const sweep = async () => {
      await this.#node.store.sweep();
      for (const peer of this.#clients.keys()) if (this.#node.store.voiding(peer).length) await this.#void(peer);
      setTimeout(sweep, RETRY_MS);
    };
    sweep();
  }
}

const unavailable = (peer, why) => new Refusal("UNAVAILABLE", "UNAVAILABLE", `KME ${peer} ${why}`);

function named(keys) {
  if (keys.length < 1 || keys.length > MOST_KEYS) throw refusals.badInput(`${keys.length} keys, not 1 to ${MOST_KEYS}`);
  return keys.map(({ keyId, pieces }) => {
    if (!KEY_ID.test(keyId)) throw refusals.badInput("a key_id is not a UUID in lower case");
    if (pieces.length < 1 || pieces.length > 1024) throw refusals.badInput(`key ${keyId}: ${pieces.length} pieces`);
    return { id: keyId, pieces: plain(pieces) };
  });
}
