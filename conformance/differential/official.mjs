// What the official parsers make of an input, and what ours does, in one form.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const v4 = require("engine.io-parser-5");
const v3 = require("engine.io-parser-2");
const { JSONP } = createRequire(require.resolve("engine.io"))("./transports/polling-jsonp");
const parsers = {
  "packet-4": require("socket.io-parser-3"),
  "packet-5": require("socket.io-parser-4"),
  msgpack: require("socket.io-msgpack-parser"),
};

/** The packets before the first error, and what that is. */
export function official({ decoder, messages }) {
  const packets = [];
  try {
    const error = decode(decoder, messages, packets);
    return { packets, error: error ?? null };
  } catch (error) {
    return { packets, error: error.message };
  }
}

function decode(decoder, messages, packets) {
  let failed;
  const engine = (packet) => {
    if (packet.type === "error" && packet.data === "parser error") {
      failed ??= packet.data;
    } else if (!failed) {
      packets.push(canonical([packet.type, packet.data ?? ""]));
    }
    return !failed;
  };
  switch (decoder) {
    case "v4":
      v4.decodePayload(messages[0].toString()).forEach(engine);
      return failed;
    case "v3":
      v3.decodePayload(messages[0].toString(), engine);
      return failed;
    case "v3-binary":
      // the server looks for an empty body before
      v3.decodePayload(messages[0], engine);
      return failed;
    case "frame-v4":
      engine(v4.decodePacket(messages[0]));
      return failed;
    case "frame-v3":
      engine(v3.decodePacket(messages[0]));
      return failed;
    case "jsonp": {
      const parser = { decodePayload: (text) => (packets.push(canonical(text)), []) };
      JSONP.prototype.onData.call({ parser, protocol: 4 }, messages[0].toString());
      return undefined;
    }
    default: {
      const it = new parsers[decoder].Decoder();
      it.on("decoded", (packet) => packets.push(socket(packet)));
      messages.forEach((message) => it.add(message));
      return undefined;
    }
  }
}

/** A packet of Socket.IO: whether it is binary is seen by its data. */
function socket({ type, nsp, id, data }) {
  const kind = { 5: 2, 6: 3 }[type] ?? type;
  if (kind === 2) {
    // an event without a name is heard by nobody
    const isNamed = ["string", "number"].includes(typeof data?.[0]);
    const event = { type: 2, nsp, id, name: String(data?.[0]), args: data?.slice(1) };
    return canonical(isNamed ? event : { type: "empty", nsp });
  }
  if (kind === 3) {
    // the answer to nothing
    return canonical(id === undefined ? { type: "empty", nsp } : { type: 3, nsp, id, args: data ?? [] });
  }
  return canonical({ type: kind, nsp, data });
}

/** What our decoder has said, in the same form. */
export function ours(decoder, { packets, error }) {
  const one = (packet) => {
    if (decoder === "jsonp") {
      return canonical(Buffer.from(packet.bytes, "base64").toString());
    }
    if (Array.isArray(packet)) {
      return canonical(bytesOf(packet));
    }
    const { type, nsp, json, id, name, args } = packet;
    const data = json ? JSON.parse(json) : undefined;
    return canonical({ type, nsp, data, name, id: id == null ? undefined : Number(id), args: args && argsOf(args) });
  };
  return { packets: packets.map(one), error };
}

const bytesOf = (value) =>
  Array.isArray(value) ? value.map(bytesOf) : value.bytes === undefined ? value : Buffer.from(value.bytes, "base64");

/** In valid JSON a placeholder in its usual form is nothing else. */
function argsOf({ json, attachments }) {
  const bytes = (_, num) => JSON.stringify({ $bytes: attachments[num] });
  return JSON.parse(attachments.length ? json.replace(/\{"_placeholder":true,"num":(\d+)\}/g, bytes) : json);
}

/** JSON with the members in order and bytes as base64. */
function canonical(value) {
  return JSON.stringify(sorted(value));
}

function sorted(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value).toString("base64") };
  }
  if (value instanceof Date) {
    return value.toJSON();
  }
  if (Array.isArray(value)) {
    return Array.from(value, sorted);
  }
  if (typeof value === "object" && value) {
    const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    // not by assignment, for the sake of `__proto__`
    return Object.fromEntries(members.map(([name, it]) => [name, sorted(it)]));
  }
  return value;
}
