// What a process of a testbed stands on (process.proto): configuration, emulated time, log, journal, signs of life.
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, unlinkSync, utimesSync, writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { fromJson } from "@bufbuild/protobuf";
import { LinkRole, ProcessConfigSchema } from "../generated/qnetem/v1/process_pb.js";

export const PS_PER_S = 1_000_000_000_000n;
const MOST_BLOCK_BITS = 2_000_000;

/** Ends the process: 3, the file cannot be used; 4, it could not start. */
export class StartError extends Error {
  constructor(message, exitCode) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Read and check a ProcessConfig; what is wrong is named, the file is never quoted: it holds secrets. */
export function readConfig(path) {
  const refuse = (why) => { throw new StartError(`${path}: ${why}`, 3); };
  let config;
  try {
    config = fromJson(ProcessConfigSchema, JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    refuse(error.code ? `cannot be read (${error.code})` : "not a ProcessConfig in proto-JSON");
  }
  for (const name of ["testbed", "name", "stateDir"]) if (!config[name]) refuse(`${name} is missing`);
  if (config.role.case !== "node") refuse("is not a node's");
  if (!(config.clock?.scale > 0)) refuse("clock.scale is not above 0");
  if (config.role.value.isRelay) refuse("a node of this make does not relay");
  if (config.role.value.reproducibleSecret.length) refuse("a node of this make draws keys at random alone");
  for (const link of config.role.value.links) {
    const what = `link ${link.linkId}`;
    if (link.role !== LinkRole.TRANSMITTER) refuse(`${what}: a node of this make is a transmitter`);
    if (link.protocol.protocol !== "bb84-one-decoy") refuse(`${what}: ${link.protocol.protocol} is not spoken here`);
    if (link.planned.intensities.length !== 2) refuse(`${what}: two intensities are due`);
    if (link.authenticationSecret.length !== 16) refuse(`${what}: authentication_secret has 16 bytes`);
    const most = Math.max(...link.protocol.blockRampBits);
    if (most > MOST_BLOCK_BITS) refuse(`${what}: blocks of ${most} bits, ${MOST_BLOCK_BITS} at most are amplified here`);
  }
  return config;
}

/** Emulated time: picoseconds since the epoch, bigint. */
export class Clock {
  #config;

  constructor(config) { [this.#config, this.scale] = [config, config.scale]; }

  nowPs() {
    const isMonotonic = this.#config.source === 1;
    const host = isMonotonic ? process.hrtime.bigint() : BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
    const elapsed = (host - this.#config.epochNs) * 1000n;
    return this.scale === 1 ? elapsed : BigInt(Math.floor(Number(elapsed) * this.scale));
  }

  nowS() { return Number(this.nowPs()) / 1e12; }

  /** Wall milliseconds of a span of emulated picoseconds. */
  wallMs(ps) { return Number(ps) / 1e9 / this.scale; }

  static toWire(ps) { return { seconds: ps / PS_PER_S, picoseconds: ps % PS_PER_S }; }
}

/** Write a line to standard error, or to the file that the environment names for it. */
export function complain(line) {
  if (!process.env.QNETEM_LOG) return void process.stderr.write(`${line}\n`);
  try {
    appendFileSync(process.env.QNETEM_LOG, `${line}\n`, { mode: 0o600 });
  } catch {}
}

/** Where nothing orders containers: wait for the file whose being there says that all the others are. */
export async function awaitFiles(path, left = 300) {
  if (!path || existsSync(path)) return;
  if (!left) throw new StartError(`${path}: not there within 300 s`, 4);
  await setTimeout(1000);
  return awaitFiles(path, left - 1);
}

/** JSON lines: the log on standard error, the journal in its file. A full disk costs lines, never the process. */
export class Records {
  #fd; #name; #clock;

  constructor(config, clock) {
    [this.#name, this.#clock] = [config.name, clock];
    this.#fd = config.journalPath ? openSync(config.journalPath, "a", 0o600) : -1;
  }

  log(level, event, fields = {}) {
    const line = { wall: new Date().toISOString(), level, process: this.#name, room: this.#name, event, ...fields };
    complain(JSON.stringify(line));
  }

  journal(event, fields = {}) {
    if (this.#fd < 0) return;
    const when = { wall: new Date().toISOString(), emulated_ps: Number(this.#clock.nowPs()) };
    try {
      writeSync(this.#fd, `${JSON.stringify({ ...when, process: this.#name, event, ...fields })}\n`);
    } catch {}
  }
}

/** Tells who started us that we serve: the heartbeat file is touched every second. */
export function beat(path) {
  if (!path) return () => {};
  const touch = () => {
    try {
      if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
      utimesSync(path, new Date(), new Date());
    } catch {}
  };
  touch();
  const timer = setInterval(touch, 1000);
  return () => {
    clearInterval(timer);
    try { unlinkSync(path); } catch {}
  };
}

/** Certificate, key and authority of a CredentialPaths. */
export function readCredentials(paths) {
  return [paths.certificatePath, paths.keyPath, paths.authorityPath].map((path) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new StartError(`${path}: ${error.code}`, 4);
    }
  });
}
