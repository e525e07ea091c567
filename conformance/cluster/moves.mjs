// Clients that lose their connection and come back to another server, ours or an official one, with
// their sessions in Redis.
import { randomUUID } from "node:crypto";
import { io } from "sio-4.8.4";
import { sleep, until } from "../lib/time.mjs";
import { withCluster } from "./servers.mjs";
import { encode } from "./values.mjs";

const LIMIT = 10_000;

const KINDS = ["rust", "rust", "node", "node"];

/**
 * From which server to which, by number. An official server takes sessions of official servers only:
 * what ours have sent on their own has no place in the stream yet when it is sent, so it cannot tell
 * what was received.
 */
const MOVES = [
  { from: 0, to: 1, recovered: true },
  { from: 0, to: 0, recovered: true },
  { from: 2, to: 0, recovered: true },
  { from: 2, to: 3, recovered: true },
  { from: 0, to: 2, recovered: false },
];

const nameOf = (number) => `${KINDS[number]} server ${number}`;

export async function runMoves({ report, redis, binary }) {
  const args = () => ["--redis", redis.url, "--mode", "streams-recovery", "--key", randomUUID()];
  const same = args();
  await withCluster({ kinds: KINDS, binary, args: () => same }, async (servers) => {
    for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
      for (const move of MOVES) {
        const what = `${nameOf(move.from)} to ${nameOf(move.to)} by ${transports.join(", then ")}`;
        await report.run(`a client moves from ${what}`, () => runMove(servers, move, transports));
      }
    }
  });
}

async function runMove(servers, { from, to, recovered }, transports) {
  const room = randomUUID();
  const say = (by, ...args) => servers[by].tell({ do: "emit", rooms: [room], event: "said", args });
  const socket = io(servers[from].url, { auth: { name: "c", rooms: [room] }, transports, reconnection: false, forceNew: true });
  const heard = [];
  // The last argument is the offset.
  socket.on("said", (...args) => heard.push(args.slice(0, -1)));
  const connected = () => until(LIMIT, "the client connects", () => socket.connected);
  try {
    await connected();
    const { id } = socket;
    // Without an event an official server does not know what was missed.
    await say(from, "hello");
    await until(LIMIT, "the first event", () => heard.length === 1);
    socket.io.engine.close();
    await until(LIMIT, "the client is away", () => !socket.connected);
    const isGone = async () => (await servers[from].tell({ do: "fetch", rooms: [id], flags: { local: true } })).length === 0;
    await until(LIMIT, "the server knows", isGone);
    const missed = [];
    for (const by of [0, 2, 1, 3]) {
      missed.push([by, "é", Buffer.from([by, 255])]);
      await say(by, ...missed.at(-1));
      // So that they have one order.
      await sleep(30);
    }
    socket.io.uri = servers[to].url;
    socket.connect();
    await connected();
    await say(to, "live");
    await until(LIMIT, "the last event", () => heard.at(-1)[0] === "live");
    if (socket.recovered !== recovered || (socket.id === id) !== recovered) {
      throw new Error(`recovered: ${socket.recovered}, id: ${socket.id} after ${id}`);
    }
    const expected = [["hello"], ...(recovered ? missed : []), ["live"]];
    const [got, wanted] = [heard, expected].map((it) => JSON.stringify(it.map(encode)));
    if (got !== wanted) {
      throw new Error(`${got}\ninstead of\n${wanted}`);
    }
    const [{ rooms, data }] = await servers[to].tell({ do: "fetch", rooms: [socket.id] });
    if (!rooms.includes(room) || data.name !== "c") {
      throw new Error(`rooms ${rooms}, data ${JSON.stringify(data)}`);
    }
  } finally {
    socket.disconnect();
  }
}
