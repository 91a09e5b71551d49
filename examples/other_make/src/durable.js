// An append-only file of events: durable before it is acknowledged, sealed where it holds secrets, whole after kill -9.
//
// A line is 8 hex digits of the SHA-256 of its JSON, a blank, the JSON. The last line may be torn by a crash and counts for
// nothing then; any other that does not hold is damage. Appends are flushed to the disk in groups.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { closeSync, existsSync, fchmodSync, fdatasyncSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { StartError } from "./process.js";

const GROWN_BYTES = 16 << 20;
const digest = (text) => createHash("sha256").update(text).digest("hex").slice(0, 8);
const lined = (record) => { const text = JSON.stringify(record); return `${digest(text)} ${text}\n`; };

export class DurableLog {
  #path; #fd; #pending = []; #waiting = []; #isDue = false; #grown = 0; #snapshot;

  /** Read the file, calling `apply` with each record, and write it anew, short: the records that `snapshot()` gives. */
  constructor(path, apply, snapshot) {
    [this.#path, this.#snapshot] = [path, snapshot];
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [""];
    lines.pop(); // what a crash has torn, or nothing
    for (const [number, line] of lines.entries()) {
      const text = line.slice(9);
      if (digest(text) !== line.slice(0, 8)) throw new StartError(`key store ${path}: line ${number + 1} is damaged`, 4);
      apply(JSON.parse(text));
    }
    this.#rewrite();
  }

  #rewrite() {
    const fresh = `${this.#path}.new`, fd = openSync(fresh, "w", 0o600);
    fchmodSync(fd, 0o600);
    writeFileSync(fd, [...this.#snapshot()].map(lined).join(""));
    fsyncSync(fd);
    renameSync(fresh, this.#path);
    const folder = openSync(dirname(this.#path), "r");
    fsyncSync(folder);
    closeSync(folder);
    if (this.#fd !== undefined) closeSync(this.#fd);
    [this.#fd, this.#grown] = [fd, 0];
  }

  /** Append a record, which has been applied already; resolves when it is on the disk. */
  append(record) {
    this.#pending.push(lined(record));
    if (!this.#isDue) setImmediate(() => this.#flush());
    this.#isDue = true;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #flush() {
    const [text, waiting] = [this.#pending.join(""), this.#waiting];
    [this.#pending, this.#waiting, this.#isDue] = [[], [], false];
    // memory is ahead of a disk that fails here: the process ends, and begins again from what is durable
    if ((this.#grown += text.length) > GROWN_BYTES) {
      this.#rewrite();
    } else {
      writeFileSync(this.#fd, text);
      fdatasyncSync(this.#fd);
    }
    for (const resolve of waiting) resolve();
  }
}

/** Seals secrets under a storage key: AES-256-GCM, bound to a name. */
export class Vault {
  #key;

  /** Read the key, 64 hexadecimal digits; make one, 0600, where `mayMake` and there is none. */
  constructor(path, mayMake) {
    if (mayMake && !existsSync(path)) writeFileSync(path, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600, flush: true });
    let text = "";
    try {
      text = readFileSync(path, "utf8").trim();
    } catch (error) {
      throw new StartError(`${path}: ${error.code}`, 4);
    }
    if (!/^[0-9a-f]{64}$/.test(text)) throw new StartError(`${path}: is not a storage key`, 4);
    this.#key = Buffer.from(text, "hex");
  }

  seal(secret, name) {
    const nonce = randomBytes(12), cipher = createCipheriv("aes-256-gcm", this.#key, nonce).setAAD(Buffer.from(name));
    return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString("base64");
  }

  open(sealed, name) {
    const data = Buffer.from(sealed, "base64"), end = data.length - 16;
    const cipher = createDecipheriv("aes-256-gcm", this.#key, data.subarray(0, 12)).setAAD(Buffer.from(name));
    cipher.setAuthTag(data.subarray(end));
    try {
      return Buffer.concat([cipher.update(data.subarray(12, end)), cipher.final()]);
    } catch {
      throw new StartError(`${name}: is sealed under another storage key`, 4);
    }
  }
}
