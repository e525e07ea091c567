// In which ways our decoders differ from the official ones, and why. `holds` is given the messages of an input
// and what the two have made of it: the packets before the first error, and the error.
import { official } from "./official.mjs";

const BODIES_3 = ["v3", "v3-binary", "frame-v3"];
const BASE64 = ["v4", "v3", "frame-v4", "frame-v3"];
const PACKETS = ["packet-4", "packet-5"];

export const classes = [
  {
    name: "base64 that is none",
    decoders: BASE64,
    why: "Node.js skips what is no base64, and takes the URL-safe digits, too: bytes would arrive that nobody has sent. Here the session ends. No client sends such a thing.",
    holds: (messages, theirs, own) =>
      stops(own, theirs, "invalid base64") && encoded(messages).some((it) => !BASE64_PADDED_OR_NOT.test(it)),
  },
  {
    name: "a length that is not plain digits",
    decoders: ["v3"],
    why: "JavaScript's Number() reads blanks, signs, fractions, exponents and hexadecimal digits. Clients write digits, ten at most.",
    holds: ([body], theirs, own) =>
      agrees(own, theirs, "invalid payload") && textCuts(body).some(({ length }) => !/^\d{1,10}$/.test(length)),
  },
  {
    name: "a length that ends within a character",
    decoders: ["v3"],
    why: "A string of JavaScript can be cut between the halves of a surrogate pair, and both then be sent to the application. A text of Rust cannot hold them. A client's length never does that.",
    holds: ([body], theirs, own) =>
      stops(own, theirs, "invalid payload") && textCuts(body).some(({ packet }) => !packet.isWellFormed()),
  },
  {
    name: "a binary packet of a kind that does not exist, or none",
    decoders: BODIES_3,
    why: "The official parser gives a packet without a kind, which its server ignores. Here it is refused like a text packet of such a kind.",
    holds: (_, theirs, own) => stops(own, theirs, "unknown packet type") && next(own, theirs).startsWith("[null,"),
  },
  {
    name: "a control packet in binary form",
    decoders: BODIES_3,
    why: "Its data is bytes in the official parser, text here, as in all other control packets: only a probe has any.",
    holds: (_, theirs, own) => isEqual(changed(textual(theirs)), changed(own)),
  },
  {
    name: "a control packet in binary form that is no text",
    decoders: BODIES_3,
    why: "The same. What is no text is refused.",
    holds: (_, theirs, own) => stops(own, theirs, "unknown packet type") && /^\["(?!message)\w+",\{/.test(next(own, theirs)),
  },
  {
    name: "an empty body of bytes",
    decoders: ["v3-binary"],
    why: "The official parser finds nothing in it, not even a mistake; an empty text is one to both.",
    holds: ([body], theirs, own) => !body.length && !theirs.error && own.error === "invalid payload",
  },
  {
    name: "bytes that are no UTF-8 in a packet of the binary framing",
    decoders: ["v3-binary"],
    why: "The official parser refuses some of them and makes halves of surrogate pairs of others. Here they become U+FFFD, as they do for both in every other framing.",
    holds: ([body], theirs, own) => byteCuts(body).some(({ kind, packet }) => kind === 0 && !isUtf8(packet)) && agreeUntilUtf8(theirs, own),
  },
  {
    name: "a packet of the binary framing that is neither text nor binary",
    decoders: ["v3-binary"],
    why: "To the official parser all that is not 0 is 1.",
    holds: ([body], theirs, own) => stops(own, theirs, "invalid payload") && byteCuts(body).some(({ kind }) => kind > 1),
  },
  {
    name: "a length of the binary framing that is not plain digits",
    decoders: ["v3-binary"],
    why: "The official parser writes the bytes one behind the other as decimals and reads what comes of it, if only its beginning; it also looks for the end of the length beyond the body. Here they are one to ten digits.",
    holds: ([body], theirs, own) =>
      own.error === "invalid payload" &&
      (stops(own, theirs) || !theirs.packets.length) &&
      byteCuts(body).some(({ length }) => !length.length || length.length > 10 || length.some((it) => it > 9)),
  },
  {
    name: "a packet of the binary framing that is cut off",
    decoders: ["v3-binary"],
    why: "The official parser takes what is there. Here a packet that is shorter than it says is refused: the rest of it is missing.",
    holds: ([body], theirs, own) => stops(own, theirs, "invalid payload") && byteCuts(body).some(({ isShort }) => isShort),
  },
  {
    name: "packets before a length of the binary framing that never ends",
    decoders: ["v3-binary"],
    why: "The official parser cuts the whole body up before it reads the first packet, and then gives none. In the text framing it gives those before a mistake, as this one always does. The session ends in both.",
    holds: (_, theirs, own) => theirs.error && !theirs.packets.length && own.error && own.packets.length > 0,
  },
  {
    name: "characters beyond ASCII beside bytes that are no UTF-8",
    decoders: ["jsonp"],
    why: "Where percent-encoded bytes are no UTF-8, Node.js takes the lowest byte of each character that stands beside them. Here these stay what they are. Browsers encode both.",
    holds: ([form], theirs, own) =>
      isEqual(theirs.error, own.error) && /[^\0-\x7f]/.test(form.toString()) && isMalformed(form.toString()),
  },
  {
    name: "a form with its field twice",
    decoders: ["jsonp"],
    why: "Node.js makes a list of the values, which the official transport ignores: it answers \"ok\", and the packets are lost. Here the first counts.",
    holds: ([form], theirs, own) => {
      const fields = form.toString().split("&").filter((it) => new URLSearchParams(it).has("d"));
      const first = official({ decoder: "jsonp", messages: fields.slice(0, 1) });
      return fields.length > 1 && isEqual(theirs, { packets: [], error: null }) && isEqual(own, first);
    },
  },
  {
    name: "nothing or a blank in the place of the type",
    decoders: PACKETS,
    why: "Number(\"\") is 0, the type CONNECT. The official server does not get as far with an empty message, and no client sends a blank.",
    holds: (_, theirs, own) => own.error === "unknown packet type NaN" && isPrefix(own.packets, theirs.packets),
  },
  {
    name: "a type that does not exist, which becomes an error packet",
    decoders: ["packet-4"],
    why: "The old parser gives a packet of type ERROR instead of an error, which an old server takes for one of the client's. The parser of today and this one refuse it, and the connection is closed.",
    holds: (_, theirs, own) => /^unknown packet type/.test(own.error) && stops(own, theirs) && next(own, theirs).includes("parser error"),
  },
  {
    name: "a blank in the place of an id",
    decoders: PACKETS,
    why: "Number(\" \") is 0, so the official parser takes blanks of all kinds for digits. No client writes any.",
    holds: (messages, theirs, own) => stops(own, theirs, "invalid payload") && texts(messages).some((it) => /\s/.test(id(it))),
  },
  {
    name: "an id in a packet that has none",
    decoders: PACKETS,
    why: "The official parser reads one in CONNECT, DISCONNECT and CONNECT_ERROR, too, and nobody looks at it. The protocol has ids for events and acknowledgements only.",
    holds: (messages, theirs, own) =>
      stops(own, theirs, "invalid payload") && texts(messages).some((it) => /^[014]/.test(it) && id(it)),
  },
  {
    name: "an id beyond 64 bits",
    decoders: PACKETS,
    why: "Numbers of JavaScript lose digits, here ids lose none: what does not fit 64 bits is refused. Clients count from 0.",
    holds: (messages, theirs, own) => stops(own, theirs, "invalid payload") && texts(messages).some((it) => Number(id(it)) >= 2 ** 64),
  },
  {
    name: "a count of attachments that is not plain digits",
    decoders: PACKETS,
    why: "JavaScript's Number() reads blanks, signs, fractions, exponents and hexadecimal digits. Clients write digits.",
    holds: (messages, theirs, own) =>
      agrees(own, theirs, "Illegal attachments") && texts(messages).some((it) => /^[56](?!\d+-).*-/s.test(it)),
  },
  {
    name: "a placeholder that names no attachment, before they have come",
    decoders: PACKETS,
    why: "The official parser looks at placeholders when all attachments are there. Here a packet that cannot be right is refused before anybody keeps what belongs to it.",
    holds: (messages, theirs, own) =>
      own.error === "illegal attachments" &&
      !theirs.error &&
      isEqual({ ...theirs, error: own.error }, own) &&
      texts(messages).some((it) => placeholders(it).some((num) => !(Number(num) < attachments(it)))),
  },
  {
    name: "a placeholder whose number is not plain digits",
    decoders: PACKETS,
    why: "To JavaScript 0.0 and -0 are 0, and the attachment number 0.5 is undefined. Clients write digits.",
    holds: (messages, theirs, own) =>
      stops(own, theirs, "illegal attachments") &&
      texts(messages).some((it) => placeholders(it).some((num) => !/^\d+$/.test(num))),
  },
  {
    name: "an attachment that is named twice",
    decoders: PACKETS,
    why: "The official parser puts it into both places. An encoder of another format, as between servers, makes a copy for each, and a small message so becomes a large one, with more attachments than announced. Clients name each once.",
    holds: (messages, theirs, own) =>
      own.error === "illegal attachments" &&
      isPrefix(own.packets, theirs.packets) &&
      texts(messages).some((it) => new Set(placeholders(it).map(Number)).size < placeholders(it).length),
  },
  {
    name: "a payload that is too deep",
    decoders: [...PACKETS, "msgpack"],
    why: "Its depth has a limit here, max_depth: the official parsers walk through it by recursion, and fail at some depth that nobody knows.",
    holds: (messages, theirs, own) => stops(own, theirs, "payload too deep") && messages.some((it) => it.length > 1_000),
  },
  {
    name: "a namespace that is too long",
    decoders: PACKETS,
    why: "Its length has a limit here, max_namespace_length.",
    holds: (messages, theirs, own) => stops(own, theirs, "namespace too long") && isLong(messages),
  },
  {
    name: "an event name that is too long",
    decoders: PACKETS,
    why: "Its length has a limit here, max_event_name_length.",
    holds: (messages, theirs, own) => stops(own, theirs, "event name too long") && isLong(messages),
  },
  {
    name: "half a surrogate pair in an event name",
    decoders: PACKETS,
    why: "A text of Rust cannot hold it; U+FFFD stands for it. In arguments it is passed on as it came.",
    holds: (_, theirs, own) => isEqual(changed(theirs, (it) => ({ ...it, name: it.name?.toWellFormed() })), changed(own)),
  },
  {
    name: "a number as an event name, not in its shortest form",
    decoders: PACKETS,
    why: "To JavaScript it is a number, here the text that came. No client makes names of numbers by itself.",
    holds: (_, theirs, own) => isEqual(changed(theirs, number), changed(own, number)),
  },
  {
    name: "an event with a reserved name",
    decoders: ["packet-4"],
    why: "The old parser lets them through; that of today refuses them for all clients, and so does this one.",
    holds: (_, theirs, own) =>
      stops(own, theirs, "invalid payload") && RESERVED.includes(JSON.parse(next(own, theirs)).name),
  },
  {
    name: "null or a list as the payload of CONNECT or ERROR",
    decoders: ["packet-4"],
    why: "The old parser takes whatever typeof calls an object. Clients send none of it.",
    holds: (messages, theirs, own) =>
      stops(own, theirs, "invalid payload") && texts(messages).some((it) => /^[04].*(\]|null)\s*$/s.test(it)),
  },
  {
    name: "nil in place of undefined",
    decoders: ["msgpack"],
    why: "Clients in other languages than JavaScript have no undefined. Here an id or a payload that is nil is not there.",
    holds: ([bytes], theirs, own) => /^invalid (packet id|payload)$/.test(theirs.error) && !own.error && bytes.includes(0xc0),
  },
  {
    name: "a whole number as a float",
    decoders: ["msgpack"],
    why: "To JavaScript it is an integer. MessagePack has integers of its own, and all encoders use them for types and ids.",
    holds: ([bytes], theirs, own) =>
      stops(own, theirs) && /^invalid packet (type|id)$/.test(own.error) && (bytes.includes(0xcb) || bytes.includes(0xca)),
  },
  {
    name: "a negative id",
    decoders: ["msgpack"],
    why: "The official parser wants an integer. Clients count from 0.",
    holds: (_, theirs, own) => stops(own, theirs, "invalid packet id") && JSON.parse(next(own, theirs)).id < 0,
  },
  {
    name: "binary data in the payload of CONNECT or CONNECT_ERROR",
    decoders: ["msgpack"],
    why: "With the default parser there can be none, so applications need not expect any here.",
    holds: (_, theirs, own) => stops(own, theirs, "invalid payload") && next(own, theirs).includes("$bytes"),
  },
  {
    name: "a key that is no text",
    decoders: ["msgpack"],
    why: "JavaScript makes a text of it, for instance [object Object]. JSON has texts only, and so have the objects of clients.",
    holds: ([bytes], theirs, own) =>
      isEqual(own, { packets: [], error: "invalid packet" }) &&
      !theirs.error &&
      theirs.packets.length === 1 &&
      keys(bytes).some((first) => !TEXTS.includes(first)),
  },
  {
    name: "a member called __proto__",
    decoders: ["msgpack"],
    why: "The official decoder sets the object's prototype, so that the member is lost. Here it is a member like any other.",
    holds: (_, theirs, own) => isEqual(changed(theirs), changed(own, withoutPrototypes)),
  },
];

/** What stands in the place of the numbers of placeholders, of which some may have none. */
const placeholders = (text) => {
  const numbers = [...text.matchAll(/"num"\s*:\s*([^,}\s]*)/g)].map(([, num]) => num);
  return text.split('"_placeholder"').length - 1 > numbers.length ? [...numbers, "undefined"] : numbers;
};

const attachments = (text) => Number(/^[56](\d+)-/.exec(text)?.[1] ?? 0);

/** Whether there is anything that could be too long. */
const isLong = (messages) => texts(messages).some((it) => Buffer.byteLength(it) > 1_024);

const RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

const BASE64_PADDED_OR_NOT = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==?)?|[A-Za-z0-9+/]{3}=?)?$/;

const isEqual = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const isPrefix = (packets, of) => packets.every((it, index) => it === of[index]);

/** Whether ours has the same packets as the official one, and then an error where that has another packet. */
function stops(own, theirs, error) {
  return own.packets.length < theirs.packets.length && agrees(own, theirs, error);
}

/** The same, if the official one need not have another packet. */
function agrees(own, theirs, error) {
  const isStopped = error ? own.error === error : own.error;
  return Boolean(isStopped) && isPrefix(own.packets, textual(theirs).packets);
}

/** The packet that the official one has in place of our error. */
const next = (own, theirs) => theirs.packets[own.packets.length];

/** With the data of control packets as text. */
function textual({ packets, error }) {
  const text = (it) => {
    const [kind, data] = Array.isArray(it) ? it : [];
    return typeof kind === "string" && kind !== "message" && data?.$bytes !== undefined
      ? [kind, Buffer.from(data.$bytes, "base64").toString()]
      : it;
  };
  return { packets: packets.map((it) => JSON.stringify(text(JSON.parse(it)))), error };
}

const changed = ({ packets, error }, change = (it) => it) => ({
  packets: packets.map((it) => JSON.stringify(change(JSON.parse(it)))),
  error: Boolean(error),
});

const number = (packet) => ({ ...packet, name: /^-?\d/.test(packet.name) ? String(Number(packet.name)) : packet.name });

const texts = (messages) => messages.filter((it) => typeof it === "string");

/** What should be base64 in a body or a frame. */
function encoded([message]) {
  const text = message.toString();
  const packets = [text, ...text.split("\u001e"), ...textCuts(message).map(({ packet }) => packet)];
  return packets.flatMap((it) => (it[0] === "b" ? [it.slice(1), it.slice(2)] : []));
}

const isMalformed = (form) =>
  form.split("&").some((it) => {
    try {
      decodeURIComponent(it);
    } catch {
      return true;
    }
  });

/** What stands in the place of an id. */
const id = (text) => /^(?:[56][^-]*-|.)(?:\/[^,]*,?)?([\d\s]*)/s.exec(text)?.[1] ?? "";

/** Lengths and packets of a body, read as the official parser reads them. */
function textCuts(body) {
  const cuts = [];
  for (let rest = body.toString(), colon; (colon = rest.indexOf(":")) >= 0; ) {
    const length = rest.slice(0, colon);
    const end = colon + 1 + (Number(length) || 0);
    cuts.push({ length, packet: rest.slice(colon + 1, end) });
    rest = rest.slice(Math.max(end, colon + 1));
  }
  return cuts;
}

/** The same of the binary framing. */
function byteCuts(body) {
  const cuts = [];
  for (let rest = body; rest.length; ) {
    const end = rest.indexOf(255, 1);
    const length = [...rest.subarray(1, end < 0 ? rest.length : end)];
    if (end < 0) {
      // there is no end: it is no digit
      cuts.push({ kind: rest[0], length: [255], packet: Buffer.of() });
      break;
    }
    const decimals = length.join("");
    const start = decimals.length + 2;
    const size = Number.parseInt(decimals, 10) || 0;
    const packet = rest.subarray(start, start + size);
    cuts.push({ kind: rest[0], length, packet, isShort: packet.length < size });
    rest = rest.subarray(start + size);
  }
  return cuts;
}

const isUtf8 = (bytes) => Buffer.from(bytes.toString()).equals(bytes);

/** The same as far as there is no U+FFFD; what the official one refuses, ours does not. */
function agreeUntilUtf8(theirs, own) {
  const them = textual(theirs).packets;
  const first = own.packets.findIndex((it) => it.includes("\ufffd"));
  return first >= 0 && isPrefix(own.packets.slice(0, first), them) && them[first] !== own.packets[first];
}

const withoutPrototypes = (packet) =>
  JSON.parse(JSON.stringify(packet), (name, value) => (name === "__proto__" ? undefined : value));

/** The first byte of each key in a message of MessagePack. */
function keys(bytes) {
  const found = [];
  let at = 0;
  const number = (width) => bytes.readUIntBE((at += width) - width, width);
  const all = (count, areMembers) => {
    for (; count > 0; count -= 1) {
      if (areMembers) {
        found.push(bytes[at]);
        value();
      }
      value();
    }
  };
  const value = () => {
    const first = number(1);
    if (first >= 0x80 && first < 0xa0) {
      all(first & 15, first < 0x90);
    } else if (first >= 0xdc && first < 0xe0) {
      all(number(first & 1 ? 4 : 2), first >= 0xde);
    } else if (first >= 0xa0 && first < 0xc0) {
      at += first & 31;
    } else if (LENGTHS.has(first)) {
      const [width, more] = LENGTHS.get(first);
      const length = number(width);
      at += length + more;
    } else if (first >= 0xca && first < 0xd9) {
      at += SIZES[first - 0xca];
    }
  };
  value();
  return found;
}

/** How many bytes say how long binary data, extensions and texts are, and how many more there are. */
const LENGTHS = new Map([
  [0xc4, [1, 0]],
  [0xc5, [2, 0]],
  [0xc6, [4, 0]],
  [0xc7, [1, 1]],
  [0xc8, [2, 1]],
  [0xc9, [4, 1]],
  [0xd9, [1, 0]],
  [0xda, [2, 0]],
  [0xdb, [4, 0]],
]);

/** Of numbers and of extensions of a fixed length, from 0xca on. */
const SIZES = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17];

const TEXTS = [...Array.from({ length: 32 }, (_, it) => 0xa0 + it), 0xd9, 0xda, 0xdb];
