// gRPC over mutual TLS between grpc-js and the messages of protobuf-es. Errors are a status and a reason in the metadata.
import grpc from "@grpc/grpc-js";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StartError } from "./process.js";

const MESSAGE_BYTES = 64 << 20;
const LIMITS = { "grpc.max_send_message_length": MESSAGE_BYTES, "grpc.max_receive_message_length": MESSAGE_BYTES };

/** What a caller may know of a failure: a gRPC status, one word, and the text. */
export class Refusal extends Error {
  constructor(status, reason, message) {
    super(message);
    [this.status, this.reason] = [status, reason];
  }
}

export const refusals = {
  badInput: (text) => new Refusal("INVALID_ARGUMENT", "BAD_INPUT", text),
  denied: (text) => new Refusal("PERMISSION_DENIED", "DENIED", text),
  conflict: (text) => new Refusal("FAILED_PRECONDITION", "CONFLICT", text),
  pending: (text) => new Refusal("UNAVAILABLE", "BLOCK_PENDING", text),
};

function definition(service) {
  return Object.fromEntries(service.methods.map((method) => [method.localName, {
    path: `/${service.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
  }]));
}

/** Dial a party whose certificate carries the DNS name `target`, whatever the address leads to. */
export function dial({ address, target }, [certificate, key, authority]) {
  return new grpc.Client(address, grpc.credentials.createSsl(authority, key, certificate), {
    ...LIMITS,
    "grpc.ssl_target_name_override": target,
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 250,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_http_proxy": 0,
  });
}

/** Call a method and return the answer; throws a Refusal. */
export function unary(client, service, name, fields, timeoutMs) {
  const { path, requestSerialize, responseDeserialize } = definition(service)[name];
  const request = create(service.method[name].input, fields);
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + timeoutMs };
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, new grpc.Metadata(), options, (error, answer) =>
      error ? reject(refusalOf(error)) : resolve(answer));
  });
}

/** Open a stream both ways: a Node stream of messages. */
export function bidi(client, service, name) {
  const { path, requestSerialize, responseDeserialize } = definition(service)[name];
  return client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new grpc.Metadata());
}

export function refusalOf(error) {
  if (error instanceof Refusal) return error;
  const reason = String(error.metadata?.get("qnetem-reason")[0] ?? "");
  return new Refusal(grpc.status[error.code] ?? "UNAVAILABLE", reason, error.details || "the call failed");
}

/**
 * Serve on "host:port". `services`: [service, handlers, isAllowed(uri)]; a handler takes (request, {uri, call}) and returns
 * the answer, or, of a stream, writes to call itself.
 */
export async function serve(address, [certificate, key, authority], services, log) {
  const server = new grpc.Server(LIMITS);
  for (const [service, handlers, isAllowed] of services) {
    server.addService(definition(service), Object.fromEntries(service.methods.filter((m) => handlers[m.localName]).map((method) => {
      const handle = handlers[method.localName];
      const guarded = async (call) => {
        const uri = callerUri(call);
        if (!isAllowed(uri)) throw refusals.denied(`${uri} may not call ${service.typeName}/${method.name}`);
        return handle(call.request, { uri, call });
      };
      const failed = (error) => toStatus(error, log);
      if (method.methodKind === "server_streaming") {
        return [method.localName, (call) => guarded(call).catch((error) => call.emit("error", failed(error)))];
      }
      return [method.localName, (call, answer) => guarded(call).then(
        (fields) => answer(null, create(method.output, fields)), (error) => answer(failed(error)))];
    })));
  }
  const credentials = grpc.ServerCredentials.createSsl(authority, [{ private_key: key, cert_chain: certificate }], true);
  await new Promise((resolve, reject) => server.bindAsync(address, credentials, (error) =>
    error ? reject(new StartError(`cannot listen on ${address}: ${error.message}`, 4)) : resolve()));
  return server;
}

function callerUri(call) {
  const names = call.getAuthContext().sslPeerCertificate?.subjectaltname ?? "";
  const uri = names.split(", ").find((name) => name.startsWith("URI:spiffe://"));
  if (!uri) throw refusals.denied("the caller's certificate names no party");
  return uri.slice(4);
}

function toStatus(error, log) {
  const metadata = new grpc.Metadata();
  if (error instanceof Refusal) {
    metadata.set("qnetem-reason", error.reason);
    return { code: grpc.status[error.status], details: error.message, metadata };
  }
  // the text of an unforeseen error may hold anything
  log("error", "rpc.handler.failed", { error: error.name });
  return { code: grpc.status.INTERNAL, details: "internal error; see the log of the process", metadata };
}
