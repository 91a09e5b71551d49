// ETSI GS QKD 014 over HTTPS with client certificates: status, enc_keys, dec_keys for the SAEs of this KME.
import { createServer } from "node:https";
import { StartError } from "./process.js";
import { Refusal } from "./rpc.js";

const VERBS = { status: ["GET"], enc_keys: ["GET", "POST"], dec_keys: ["GET", "POST"] };
const SIZE = { default: 256, min: 8, max: 1024 }, MOST_KEYS = 128, MOST_EXTRA = 8, CAPACITY_BITS = 1 << 26, BODY_BYTES = 64 << 10;
const KEY_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

class HttpError extends Error {
  constructor(status, message, headers = {}) {
    super(message);
    [this.status, this.headers] = [status, headers];
  }
}
const bad = (message) => new HttpError(400, message);

/** Serve at "host:port"; resolves with the server. */
export function serveEtsi014(address, [certificate, key, authority], node, exchange) {
  const options = { cert: certificate, key, ca: authority, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.2" };
  const server = createServer(options, (request, response) => {
    answer(request, node, exchange).then((body) => [200, body, {}], (error) => refusal(error, node)).then(([status, body, headers]) => {
      response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store", ...headers }).end(JSON.stringify(body));
    });
  });
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new StartError(`cannot listen on ${address}: ${error.code}`, 4)));
    server.listen(Number(port), host.replace(/[[\]]/g, ""), () => resolve(server));
  });
}

function refusal(error, node) {
  if (error instanceof HttpError) return [error.status, { message: error.message }, error.headers];
  if (error instanceof Refusal) return [503, { message: error.message }, {}];
  node.records.log("error", "etsi014.request.failed", { error: error.name });
  return [500, { message: "internal error" }, {}];
}

async function answer(request, node, exchange) {
  const url = new URL(request.url, "https://kme"), parts = url.pathname.split("/");
  const [, , , , name, verb] = parts;
  if (parts.length !== 6 || parts.slice(0, 4).join("/") !== "/api/v1/keys" || !VERBS[verb]) throw new HttpError(404, "no such resource");
  if (!VERBS[verb].includes(request.method)) throw new HttpError(405, `${verb} takes ${VERBS[verb].join(", ")}`, { Allow: VERBS[verb].join(", ") });
  const sae = decoded(name), caller = callerOf(request.socket.getPeerCertificate(), node), isPost = request.method === "POST";
  if (isPost && url.search) throw bad("a POST takes its parameters in the body");
  const asked = isPost ? await body(request) : Object.fromEntries(url.searchParams);
  if (verb === "dec_keys") {
    const ids = keyIds(isPost ? asked.key_IDs : [{ key_ID: only(asked, "key_ID").key_ID }]);
    if (sae === caller) throw bad("the master SAE is the caller");
    const keys = await node.store.collect(caller, sae, ids);
    if (keys === "unnamed") throw new HttpError(401, "the caller was not named when the key was issued");
    if (keys === "missing") throw bad("one or more keys specified are not found on KME");
    return container(keys);
  }
  const peer = placeOf(sae, caller, exchange);
  return verb === "status" ? status(caller, sae, peer, node, exchange) : encKeys(caller, sae, peer, asked, isPost, exchange);
}

function status(caller, sae, peer, node, exchange) {
  const bits = exchange.isNeighbour(peer) ? node.store.pool(peer).availableBits : 0;
  return {
    source_KME_ID: node.config.name, target_KME_ID: peer, master_SAE_ID: caller, slave_SAE_ID: sae, key_size: SIZE.default,
    stored_key_count: Math.floor(bits / SIZE.default), max_key_count: CAPACITY_BITS / SIZE.default, max_key_per_request: MOST_KEYS,
    max_key_size: SIZE.max, min_key_size: SIZE.min, max_SAE_ID_count: MOST_EXTRA,
  };
}

async function encKeys(caller, sae, peer, asked, isPost, exchange) {
  const { number = 1, size = SIZE.default } = isPost ? asked : numbers(only(asked, "number", "size"));
  const extra = asked.additional_slave_SAE_IDs ?? [], mandatory = asked.extension_mandatory ?? [];
  if (!Array.isArray(mandatory) || mandatory.length) throw bad("not all extension_mandatory parameters are supported");
  for (const [name, value] of Object.entries({ number, size })) if (!Number.isInteger(value)) throw bad(`${name} shall be an integer`);
  if (number < 1 || number > MOST_KEYS) throw bad(`number shall be between 1 and ${MOST_KEYS}`);
  if (size % 8) throw bad("size shall be a multiple of 8");
  if (size < SIZE.min || size > SIZE.max) throw bad(`size shall be between ${SIZE.min} and ${SIZE.max} bits`);
  if (!Array.isArray(extra) || extra.length > MOST_EXTRA || extra.some((each) => typeof each !== "string")) {
    throw bad(`additional_slave_SAE_IDs shall be an array of at most ${MOST_EXTRA} strings`);
  }
  const slaves = [sae, ...extra];
  if (new Set(slaves).size !== slaves.length) throw bad("additional_slave_SAE_IDs names an SAE twice, or the slave SAE of the path");
  if (slaves.some((slave) => placeOf(slave, caller, exchange) !== peer)) throw bad("slave SAEs of several KMEs are not served here");
  if (!exchange.isNeighbour(peer)) throw new HttpError(503, `KME ${peer} shares no link with this one`);
  const keys = await exchange.issue(caller, slaves, peer, number, size);
  if (!keys) throw new HttpError(503, `not enough key material shared with KME ${peer}: asked ${number} keys of ${size} bits`);
  return container(keys);
}

/** The SAE that the testbed issued the certificate to, by its URI and common name, which is attached here. */
function callerOf(certificate, node) {
  const prefix = `URI:spiffe://${node.config.testbed}/sae/`;
  const uris = (certificate.subjectaltname ?? "").split(", ").filter((name) => name.startsWith("URI:"));
  const sae = uris.length === 1 && uris[0].startsWith(prefix) ? uris[0].slice(prefix.length) : "";
  const isNamed = node.config.role.value.keyDelivery?.saeIdFrom === 2 || certificate.subject?.CN === sae;
  if (!sae || !isNamed) throw new HttpError(401, "the client certificate is not that of an SAE of this testbed");
  if (!node.config.role.value.saeIds.includes(sae)) throw new HttpError(401, "the caller is not an SAE of this KME");
  return sae;
}

function placeOf(slave, caller, exchange) {
  const place = exchange.placeOf(slave);
  if (!place) throw bad("a slave SAE is not known");
  if (slave === caller) throw bad("the slave SAE is the caller");
  return place;
}

async function body(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    if ((size += chunk.length) > BODY_BYTES) throw new HttpError(413, `a body of more than ${BODY_BYTES} bytes is not read`);
    chunks.push(chunk);
  }
  if (!size) return {};
  let value;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    throw bad("the body is not JSON in UTF-8");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad("the body shall be a JSON object");
  return value;
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw bad("the SAE id in the path is not UTF-8");
  }
}

function only(asked, ...names) {
  for (const name of Object.keys(asked)) if (!names.includes(name)) throw bad(`a GET takes no parameter but ${names.join(" and ")}`);
  return asked;
}

function numbers(asked) {
  return Object.fromEntries(Object.entries(asked).map(([name, text]) => [name, /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN]));
}

function keyIds(entries) {
  if (!Array.isArray(entries) || !entries.length || entries.length > MOST_KEYS) throw bad(`key_IDs shall be an array of 1 to ${MOST_KEYS} objects`);
  const ids = entries.map((entry) => String(entry?.key_ID ?? "").toLowerCase());
  if (!ids.every((id) => KEY_ID.test(id))) throw bad("a key_ID is missing or is not a UUID");
  if (new Set(ids).size !== ids.length) throw bad("key_IDs names a key twice");
  return ids;
}

function container(keys) {
  return { keys: keys.map(([id, value]) => ({ key_ID: id, key: value.toString("base64") })) };
}
