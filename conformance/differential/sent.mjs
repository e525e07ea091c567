// What the official encoders make of arbitrary packets: inputs that clients do send.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const v4 = require("engine.io-parser-5");
const v3 = require("engine.io-parser-2");
const v4Packets = require("socket.io-parser-3");
const v5Packets = require("socket.io-parser-4");
const msgpack = require("socket.io-msgpack-parser");

/** The messages of one input, or nothing for a decoder that no official encoder writes for. */
export function sent(decoder, random) {
  const packets = Array.from({ length: 1 + random(4) }, () => enginePacket(random));
  let messages = [];
  const one = (message) => (messages = [Buffer.from(message)]);
  switch (decoder) {
    case "v4":
      v4.encodePayload(packets, one);
      break;
    case "v3":
      v3.encodePayload(packets, false, one);
      break;
    case "v3-binary":
      v3.encodePayloadAsBinary(packets, one);
      break;
    case "frame-v4":
      v4.encodePacket(packets[0], random(2) === 0, (it) => messages.push(it));
      break;
    case "frame-v3":
      v3.encodePacket(packets[0], random(2) === 0, (it) => messages.push(it));
      break;
    case "jsonp":
      v3.encodePayload(packets, false, (text) => {
        const escaped = text.replace(/\\n/g, "\\\n").replace(/\n/g, "\\n");
        one(new URLSearchParams({ d: escaped }).toString());
      });
      break;
    case "packet-4":
      new v4Packets.Encoder().encode(socketPacket(random, true), (it) => messages.push(...it));
      break;
    case "packet-5":
      messages.push(...new v5Packets.Encoder().encode(socketPacket(random, true)));
      break;
    case "msgpack":
      messages.push(...new msgpack.Encoder().encode(socketPacket(random, false)));
      break;
  }
  return messages;
}

function enginePacket(random) {
  const type = pick(["message", "message", "message", "message", "ping", "pong", "upgrade", "noop", "close"], random);
  if (type !== "message") {
    return random(3) ? { type } : { type, data: "probe" };
  }
  return { type, data: random(3) ? text(random) : bytes(random) };
}

function socketPacket(random, isJson) {
  const nsp = pick(["/", "/", "/admin", "/é", "/a?b=c"], random);
  const id = random(2) ? undefined : pick([0, 7, 4294967296, Number.MAX_SAFE_INTEGER], random);
  const values = Array.from({ length: random(4) }, () => value(random, 3, isJson));
  const object = random(2) ? undefined : { token: text(random), more: [1, null] };
  return pick(
    [
      { type: 2, nsp, id, data: [`x${text(random)}`, ...values] },
      { type: 2, nsp, id, data: ["message", ...values] },
      { type: 3, nsp, id: id ?? 1, data: values },
      { type: 0, nsp, data: object },
      { type: 1, nsp },
      { type: 4, nsp, data: object ?? { message: text(random) } },
    ],
    random,
  );
}

/** Something with a depth; without `isJson` also what MessagePack alone has a word for. */
function value(random, depth, isJson) {
  const kinds = depth ? 8 : 5;
  switch (random(kinds)) {
    case 0:
      return pick([null, true, false, ...(isJson ? [] : [undefined, new Date(0), new Date(1.7e12), Number.NaN])], random);
    case 1:
      return pick([0, -1, 127, 128, -33, 255, 256, 65536, -32769, 2 ** 32, -(2 ** 31) - 1, 2 ** 53, 0.1, -1.5e300], random);
    case 2:
    case 3:
      return text(random);
    case 4:
      return bytes(random);
    case 5:
      return Array.from({ length: random(4) }, () => value(random, depth - 1, isJson));
    default: {
      const names = ["a", "num", "é", "", "1", "_placeholder", "a\"b", "constructor"];
      const members = Array.from({ length: random(4) }, () => [pick(names, random), value(random, depth - 1, isJson)]);
      const object = Object.fromEntries(members);
      // what looks like a placeholder is the application's own mistake
      return object._placeholder === true && isJson ? {} : object;
    }
  }
}

function text(random) {
  const pieces = ["", "a", "hello", "é", "€", "😀", "\n", "\\n", "\\", '"', "\u0000", "\u001f", "\u2028", ":", "1", "%", "&", "=", " ", "{}"];
  return Array.from({ length: random(6) }, () => pick(pieces, random)).join("");
}

const bytes = (random) => Buffer.from(Array.from({ length: random(20) }, () => random(256)));

const pick = (list, random) => list[random(list.length)];
