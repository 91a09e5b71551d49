// What the node tells those who operate it: NodeService, gRPC health, /metrics.
import { createServer } from "node:http";
import { create } from "@bufbuild/protobuf";
import { Health, HealthCheckResponseSchema } from "../generated/grpc/health/v1/health_pb.js";
import { NodeService, WatchLinksResponseSchema } from "../generated/qnetem/v1/node_pb.js";
import { StartError } from "./process.js";
import { Refusal } from "./rpc.js";

const SERVING = 1, NOT_SERVING = 2;

/** Statuses of links, and who wants to hear of their changes. */
export class Board {
  #records; #watchers = new Set(); #node; isServing = false;

  constructor(records, node) { [this.#records, this.#node] = [records, node]; }

  get #links() { return this.#records.map((record) => record.status()); }

  changed() { for (const tell of this.#watchers) tell(); }

  /** Call `tell` now and after each change until the call is over. */
  #watch(call, tell) {
    this.#watchers.add(tell);
    for (const event of ["cancelled", "close", "error"]) call.on(event, () => this.#watchers.delete(tell));
    tell();
  }

  get services() {
    const isOperator = (uri) => uri.startsWith(`spiffe://${this.#node.config.testbed}/operator/`);
    return [
      [NodeService, { getNode: () => this.#status(), watchLinks: async (_, { call }) => this.#watch(call, () => this.#tellLinks(call)) }, isOperator],
      [Health, {
        check: async ({ service }) => ({ status: this.#health(service) }),
        watch: async ({ service }, { call }) =>
          this.#watch(call, () => call.write(create(HealthCheckResponseSchema, { status: this.#health(service) }))),
      }, isOperator],
    ];
  }

  async #status() {
    const { config, store } = this.#node;
    const peers = [...new Set(config.role.value.links.map((link) => link.peerNode))];
    const pools = peers.map((peerNode) => {
      const { heldBits, ...pool } = store.pool(peerNode);
      return { peerNode, ...Object.fromEntries(Object.entries(pool).map(([name, bits]) => [name, BigInt(bits)])) };
    });
    return { name: config.name, incarnation: BigInt(store.incarnation), links: this.#links, pools };
  }

  #tellLinks(call) { for (const link of this.#links) call.write(create(WatchLinksResponseSchema, { link })); }

  #health(service) {
    if (service === "") return this.isServing ? SERVING : NOT_SERVING;
    if (service === "qnetem.links") return this.#records.every((record) => record.isInService) ? SERVING : NOT_SERVING;
    throw new Refusal("NOT_FOUND", "NOT_FOUND", `no service ${service}`);
  }

  metrics() {
    const names = { qberProb: "qber_prob", clicksHz: "clicks_hz", siftedHz: "sifted_hz", secretGrossHz: "secret_gross_hz", secretNetHz: "secret_net_hz", lagS: "lag_s" };
    return this.#links.flatMap((link) => Object.entries(names).map(([key, name]) => `qnetem_link_${name}{link="${link.linkId}"} ${link[key]}`)).join("\n") + "\n";
  }
}

export function serveMetrics(address, board) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const server = createServer((request, response) => {
    const isThere = request.url === "/metrics";
    response.writeHead(isThere ? 200 : 404, { "Content-Type": "text/plain; version=0.0.4" }).end(isThere ? board.metrics() : "");
  });
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new StartError(`cannot listen on ${address}: ${error.code}`, 4)));
    server.listen(Number(port), host.replace(/[[\]]/g, ""), () => resolve(server));
  });
}
