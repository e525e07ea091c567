// Inputs for decoders: the fuzz targets' corpora, cases written by hand, what the official encoders write, and
// changed ones of all these; the same every time.
import fs from "node:fs";
import path from "node:path";
import { workspace } from "../lib/paths.mjs";
import { sent } from "./sent.mjs";

/** A message is a text or a Buffer; an input is a decoder and its messages. */
export function inputs(count) {
  const all = [...corpora(), ...edges()];
  const groups = {};
  all.forEach((it) => (groups[it.decoder] ??= []).push(it));
  const decoders = Object.keys(groups).sort();
  const random = generator(20260101);
  while (all.length < count) {
    const decoder = decoders[all.length % decoders.length];
    const group = groups[decoder];
    const known = group[random(group.length)];
    const messages = random(2) ? known.messages : sent(decoder, random);
    // what is known is always changed, what is new not always
    const isNew = messages !== known.messages;
    const which = isNew && random(3) ? -1 : random(messages.length);
    all.push({ decoder, messages: messages.map((it, at) => (at === which ? change(it, group, random) : it)) });
  }
  return all.filter((it) => !(it.decoder === "msgpack" && asksForMuch(it.messages[0])));
}

/** The official parser makes an ArrayBuffer of any size that is announced, and fills it byte by byte. */
function asksForMuch(bytes) {
  for (let at = bytes.indexOf(0xc9); at >= 0; at = bytes.indexOf(0xc9, at + 1)) {
    if (at + 5 <= bytes.length && bytes.readUInt32BE(at + 1) > 100_000) {
      return true;
    }
  }
  return false;
}

function* corpora() {
  for (const bytes of corpus("v4")) {
    yield { decoder: "v4", messages: [bytes] };
  }
  for (const bytes of corpus("v3_text")) {
    yield { decoder: "v3", messages: [bytes.subarray(1)] };
  }
  for (const bytes of corpus("v3_binary")) {
    yield { decoder: "v3-binary", messages: [bytes] };
  }
  for (const bytes of corpus("jsonp")) {
    yield { decoder: "jsonp", messages: [bytes] };
  }
  for (const bytes of corpus("frame")) {
    const content = bytes.subarray(1);
    const decoder = bytes[0] & 2 ? "frame-v3" : "frame-v4";
    yield { decoder, messages: [bytes[0] & 1 ? content : content.toString()] };
  }
  for (const decoder of ["packet-4", "packet-5"]) {
    for (const bytes of corpus("packet")) {
      const text = bytes.toString();
      const attachments = /^[56](\d\d?)-/.exec(text)?.[1] ?? 0;
      yield { decoder, messages: [text, ...Array.from({ length: attachments }, (_, it) => Buffer.of(it))] };
    }
    for (const bytes of corpus("reassembly")) {
      const messages = split(bytes.subarray(4), 255).filter((it) => it.length);
      yield {
        decoder,
        messages: messages.map((it) => (it[0] === 116 ? it.toString("utf8", 1) : it.subarray(1))),
      };
    }
  }
  for (const bytes of corpus("msgpack")) {
    yield { decoder: "msgpack", messages: [bytes] };
  }
}

function corpus(target) {
  const folder = path.join(workspace, "fuzz", "corpus", target);
  const files = fs.readdirSync(folder, { withFileTypes: true }).filter((it) => it.isFile());
  return files.map((it) => fs.readFileSync(path.join(folder, it.name)));
}

function split(bytes, separator) {
  const end = bytes.indexOf(separator);
  return end < 0 ? [bytes] : [bytes.subarray(0, end), ...split(bytes.subarray(end + 1), separator)];
}

/** Cases that the decoders are known to see in their own way, and their neighbours. */
function* edges() {
  const bodies = {
    v4: ["", "b", "bAQ=", "bAQ==x", "b_-8", "bAQ\n==", "4\ud83d", "\u001e4", "4a\u001e"],
    v3: [
      "",
      "02:4a",
      "2.0:4a",
      "2e0:4a",
      " 2:4a",
      "0x2:4a",
      "000000000002:4a",
      "-0:",
      "1:b",
      "2:b7",
      "6:b4AQ==",
      "5:b4A!!",
      "10:b2cHJvYmU=",
      "6:b2/w==",
      "2:4😀",
      "3:4😀",
    ],
  };
  for (const [decoder, texts] of Object.entries(bodies)) {
    for (const text of texts) {
      yield { decoder, messages: [Buffer.from(text)] };
    }
  }
  for (const bytes of [
    [0, 255],
    [0, 0, 255],
    [1, 0, 255],
    [0, 2, 255, 52],
    [0, 12, 255, 52, 97],
    [2, 2, 255, 4, 97],
    [1, 2, 255, 7, 97],
    [1, 7, 255, 2, ...Buffer.from("probe!")],
    [1, 2, 255, 2, 255],
    [0, 2, 255, 52, 255],
    [0, 4, 255, 52, 0xed, 0xa0, 0x80],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 255, 52, 97],
    [0, 2],
  ]) {
    yield { decoder: "v3-binary", messages: [Buffer.from(bytes)] };
  }
  for (const text of ["", "4", "9", "b", "b4", "bAQ", "b4AQ", "bz", "4é"]) {
    yield { decoder: "frame-v4", messages: [text] };
    yield { decoder: "frame-v3", messages: [text] };
  }
  for (const bytes of [[], [4], [2], [2, 255], [7], [52, 97]]) {
    yield { decoder: "frame-v3", messages: [Buffer.from(bytes)] };
  }
  for (const form of ["", "d", "d=", "d=1&d=2", "d=&d=2&d=3", "e=1&%64=%5Cn&x&d", "%64=%5Cn", "d=a+b%", "d=%e9", "d=\\\\\\\\n", "&&d=x", "D=1"]) {
    yield { decoder: "jsonp", messages: [Buffer.from(form)] };
  }
  const placeholder = (num) => `51-["a",{"_placeholder":true,"num":${num}}]`;
  const packets = [
    ["", " ", "7", "x"],
    ["0 {}", "01", "01{}", "0null", "0[]", "0{}", "0\"a\"", "1{}", "11", "1 ", "41\"a\"", "4null", "4[1]", "4{}"],
    ['2 ["a"]', '2 1["a"]', '2+1["a"]', '21 ["a"]', '2\t["a"]', '21\n2["a"]', '2.["a"]', '2٣["a"]'],
    ['218446744073709551615["a"]', '218446744073709551616["a"]', '29007199254740993["a"]'],
    ["2[]", "2[null]", "2[true]", "2[1.0]", "2[1e3]", "2[-0]", "2[12345678901234567890]", '2["\\ud800"]'],
    ['2["connect"]', '2["disconnecting"]', '2["error"]', '2["a",1e999]', '2["a",{"__proto__":1}]'],
    [`2["${"x".repeat(1025)}"]`, `2/${"x".repeat(8192)},["a"]`, `2["${"x".repeat(1024)}"]`],
  ].flat();
  for (const decoder of ["packet-4", "packet-5"]) {
    for (const text of packets) {
      yield { decoder, messages: [text] };
    }
    for (const count of [" 1", "1 ", "+1", "1.0", "1e0", "0x1", "01", "", "0", "-1", "11", "1.5"]) {
      yield { decoder, messages: [`5${count}-["a"]`, Buffer.of(1)] };
    }
    for (const num of ["0", "-0", "0.0", "0.5", "0e0", "1", "-1", '"0"', "null", "{}"]) {
      yield { decoder, messages: [placeholder(num), Buffer.of(1)] };
    }
    yield { decoder, messages: [placeholder(1)] };
    yield { decoder, messages: ['51-["a",{"_placeholder":true}]', Buffer.of(1)] };
    for (const header of ["51-", "52-"]) {
      const messages = [`${header}["a",[{"_placeholder":true,"num":0}],{"num":0,"_placeholder":true}]`, Buffer.of(1)];
      yield { decoder, messages };
    }
    for (const depth of [999, 1000]) {
      yield { decoder, messages: [`2["a",${"[".repeat(depth)}${"]".repeat(depth)}]`] };
      yield { decoder, messages: [`51-["a",${'{"a":'.repeat(depth)}1${"}".repeat(depth)}]`, Buffer.of(1)] };
    }
    yield { decoder, messages: ['51-[{"_placeholder":true,"num":0}]', Buffer.of(1)] };
    yield { decoder, messages: ['51-{"_placeholder":true,"num":0}', Buffer.of(1)] };
    yield { decoder, messages: ["51-", Buffer.of(1)] };
    yield { decoder, messages: ["61-", Buffer.of(1)] };
  }
  for (const hex of [
    "83a474797065 02 a464617461 91a161 a36e7370 a12f",
    "84a474797065 02 a464617461 91a161 a36e7370 a12f a26964 c0",
    "83a474797065 00 a464617461 c0 a36e7370 a12f",
    "82a474797065 00 a36e7370 a12f",
    "83a474797065 01 a464617461 d40000 a36e7370 a12f",
    "83a474797065 cb4000000000000000 a464617461 91a161 a36e7370 a12f",
    "84a474797065 03 a464617461 90 a36e7370 a12f a26964 cb3ff0000000000000",
    "84a474797065 03 a464617461 90 a36e7370 a12f a26964 ff",
    "84a474797065 03 a464617461 90 a36e7370 a12f a26964 cfffffffffffffffff",
    "83a474797065 00 a464617461 81a161c40101 a36e7370 a12f",
    "83a474797065 02 a464617461 92a161 8101a162 a36e7370 a12f",
    "83a474797065 02 a464617461 92a161 9282a16101c0a162c3 a36e7370 a12f",
    "83a474797065 00 a464617461 81c40161a162 a36e7370 a12f",
    "8401c3 a474797065 02 a464617461 91a161 a36e7370 a12f",
    "83a474797065 02 a464617461 92a161 81a95f5f70726f746f5f5f81a16201 a36e7370 a12f",
    "83a474797065 02 a464617461 93a161 9183a16101a95f5f70726f746f5f5f01a16202 a163 a36e7370 a12f",
    "83a474797065 00 a464617461 82a95f5f70726f746f5f5f90a16101 a36e7370 a12f",
    "83a474797065 02 a464617461 92a161 a2ff61 a36e7370 a12f",
    "83a474797065 02 a464617461 92a161 d7ff0000000000000001 a36e7370 a12f",
    "83a474797065 02 a464617461 92a161 d7007fffffffffffffff a36e7370 a12f",
    "83a474797065 02 a464617461 91c3 a36e7370 a12f",
    "83a474797065 02 a464617461 91cb3ff8000000000000 a36e7370 a12f",
    "83a474797065 02 a464617461 91a7636f6e6e656374 a36e7370 a12f",
    "83a474797065 02 a464617461 90 a36e7370 a12f",
    "83a474797065 04 a464617461 c0 a36e7370 a12f",
    "c1",
    "90",
    "c0",
  ]) {
    yield { decoder: "msgpack", messages: [Buffer.from(hex.replaceAll(" ", ""), "hex")] };
  }
  for (const depth of [998, 999]) {
    const hex = `83a474797065 02 a464617461 92a161 ${"91".repeat(depth)}90 a36e7370 a12f`;
    yield { decoder: "msgpack", messages: [Buffer.from(hex.replaceAll(" ", ""), "hex")] };
  }
}

const TOKENS = ["\u001e", '"', "\\", "é", "😀", ":", ",", "-", "/", "[", "]", "{", "}", "0", "1", "9", "b", " ", "=", "%"];

function change(message, group, random) {
  let bytes = Buffer.from(message);
  for (let rounds = 1 + random(3); rounds > 0; rounds -= 1) {
    const at = random(bytes.length + 1);
    const end = Math.min(at + random(6), bytes.length);
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(end)];
    const other = Buffer.from(group[random(group.length)].messages[0] ?? "");
    const from = random(other.length + 1);
    const pieces = [
      () => [bytes.subarray(0, at), Buffer.of(random(256)), bytes.subarray(at)],
      () => [before, after],
      () => [before, Buffer.from(TOKENS[random(TOKENS.length)]), after],
      () => [before, other.subarray(from, from + random(24)), after],
      () => [bytes.subarray(0, end), bytes.subarray(at)],
    ];
    bytes = Buffer.concat(pieces[random(pieces.length)]());
  }
  return typeof message === "string" ? bytes.toString() : bytes;
}

/** Numbers below a bound, the same from the same seed. */
function generator(seed) {
  let state = seed;
  return (bound) => {
    state = (state + 0x9e3779b9) | 0;
    let bits = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
    return ((bits ^ (bits >>> 16)) >>> 0) % bound;
  };
}
