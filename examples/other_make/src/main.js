// A node of another make: the transmitter of quantum links and the KME beside it. `node src/main.js --config FILE`.
import { mkdirSync } from "node:fs";
import { serveEtsi014 } from "./etsi014.js";
import { Exchange } from "./exchange.js";
import { KeyStore } from "./keys.js";
import { Link } from "./link.js";
import { Board, serveMetrics } from "./management.js";
import { awaitFiles, beat, Clock, complain, readConfig, readCredentials, Records, StartError } from "./process.js";
import { LinkRecord } from "./record.js";
import { serve } from "./rpc.js";
import { linkSecrets } from "./transcript.js";

async function main(argv) {
  if (argv.length !== 2 || argv[0] !== "--config") throw new StartError("usage: node src/main.js --config FILE", 3);
  await awaitFiles(process.env.QNETEM_AWAIT);
  const config = readConfig(argv[1]), { links, httpsCredentials, storageKeyPath } = config.role.value, { listeners } = config;
  mkdirSync(config.stateDir, { recursive: true, mode: 0o700 });
  const clock = new Clock(config.clock), records = new Records(config, clock);
  const node = { config, clock, records, credentials: readCredentials(config.credentials), linkChanged: () => board.changed() };
  node.store = new KeyStore(config.stateDir, storageKeyPath, () => clock.nowS());
  await node.store.begin();
  for (const link of links) await node.store.share(link.linkId, link.peerNode, linkSecrets(link.authenticationSecret).preshared);

  const linkRecords = links.map((link) => new LinkRecord(link, node)), board = new Board(linkRecords, node), exchange = new Exchange(node);
  const log = (...what) => records.log(...what);
  await serve(listeners.peer, node.credentials, [exchange.service], log);
  await serve(listeners.management, node.credentials, board.services, log);
  if (listeners.https) await serveEtsi014(listeners.https, readCredentials(httpsCredentials), node, exchange);
  if (listeners.metrics) await serveMetrics(listeners.metrics, board);
  links.forEach((link, i) => new Link(link, node, linkRecords[i]).runForever());
  exchange.sweep();

  board.isServing = true;
  records.journal("process.started");
  log("info", "process.started", { pid: process.pid });
  const stopBeating = beat(process.env.QNETEM_HEARTBEAT);
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, () => {
      stopBeating();
      records.journal("process.stopping");
      // what is acknowledged is durable: nothing is left to do
      process.exit(0);
    });
  }
}

main(process.argv.slice(2)).catch((error) => {
  // of what was not foreseen the name alone: its text may hold anything
  complain(`qnetem: ${error instanceof StartError ? error.message : error.name}`);
  process.exit(error.exitCode ?? 1);
});
for (const event of ["uncaughtException", "unhandledRejection"]) {
  process.on(event, (error) => {
    complain(JSON.stringify({ level: "error", event: "process.crashed", error: error?.name, detail: error?.code ?? "" }));
    process.exit(1);
  });
}
