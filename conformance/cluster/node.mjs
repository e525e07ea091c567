// One of several servers that share a cluster: the official one, doing what `server/src` describes.
import { createServer } from "node:http";
import readline from "node:readline";
import { parseArgs } from "node:util";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient, createCluster } from "redis";
import { Server } from "socket.io";
import { decode, encode } from "./values.mjs";

const REQUEST_TIMEOUT = 1_000;

const { values: options } = parseArgs({
  options: {
    redis: { type: "string" },
    mode: { type: "string", default: "pubsub" },
    key: { type: "string", default: "socket.io" },
  },
});

async function client() {
  const [url, ...others] = options.redis.split(",");
  const rootNodes = [url, ...others].map((url) => ({ url }));
  const client = others.length ? createCluster({ rootNodes }) : createClient({ url });
  client.on("error", () => {});
  await client.connect();
  return client;
}

const ADAPTERS = {
  none() {},
  async pubsub() {
    return createAdapter(await client(), await client(), {
      key: options.key,
      requestsTimeout: REQUEST_TIMEOUT,
    });
  },
  sharded: () => sharded("dynamic"),
  "sharded-static": () => sharded("static"),
  "streams-recovery": () => ADAPTERS.streams(),
  async streams() {
    return createStreamsAdapter(await client(), {
      streamName: options.key,
      channelPrefix: options.key,
    });
  },
};

async function sharded(subscriptionMode) {
  return createShardedAdapter(await client(), await client(), {
    channelPrefix: options.key,
    subscriptionMode,
  });
}

const http = createServer();
const recovery = options.mode === "streams-recovery" ? { connectionStateRecovery: {} } : {};
const io = new Server(http, { adapter: await ADAPTERS[options.mode](), ...recovery });
const notes = [];
const emitting = await client();

/** What every namespace does for its clients and for other servers. */
function serve(namespace) {
  namespace.on("connection", (socket) => {
    const { name, rooms = [] } = socket.handshake.auth;
    socket.data = { name, list: [1, null, "ü"] };
    socket.join(rooms);
    socket.on("shout", (text) => socket.broadcast.emit("heard", text));
    socket.on("whisper", (room, text) => socket.to(room).emit("heard", text));
  });
  namespace.on("note", (...args) => notes.push([namespace.name, encode(args)]));
  namespace.on("sum", (a, b, answer) => answer(a + b));
  namespace.on("nothing", (...args) => args.at(-1)());
  namespace.on("silence", () => {});
  namespace.on("echo", (...args) => args.at(-1)(args[0]));
}

serve(io.of("/"));
serve(io.of("/other"));
io.on("new_namespace", (namespace) => {
  if (namespace.name.startsWith("/room-")) {
    serve(namespace);
  }
});
io.of(/^\/room-\d+$/).on("connection", () => {});

function operator(namespace, { rooms = [], except = [], flags = {} }) {
  let to = namespace.to(rooms).except(except);
  for (const flag of ["volatile", "local"]) {
    to = flags[flag] ? to[flag] : to;
  }
  for (const option of ["compress", "timeout"]) {
    to = flags[option] === undefined ? to : to[option](flags[option]);
  }
  return to;
}

const outcome = (promise) =>
  promise.then(
    (answers) => ({ answers, error: false }),
    (error) => ({ answers: error.responses ?? [], error: true }),
  );

const describe = ({ id, handshake, rooms, data }) => ({ id, handshake, rooms: [...rooms], data });

async function remote(sockets, { then, event, args, names, close, flags = {} }) {
  const answers = [];
  for (const socket of sockets) {
    switch (then) {
      case "emit":
        socket.emit(event, ...args);
        break;
      case "ask":
        answers.push(await socket.timeout(flags.timeout ?? 5_000).emitWithAck(event, ...args));
        break;
      case "join":
        socket.join(names);
        break;
      case "leave":
        names.forEach((room) => socket.leave(room));
        break;
      case "disconnect":
        socket.disconnect(close);
        break;
      default:
        throw new Error(`nobody can ${then}`);
    }
  }
  return { answers, error: false };
}

async function asEmitter({ nsp = "/", rooms = [], except = [], then, event, args, names, close }) {
  const to = new Emitter(emitting, { key: options.key }, nsp);
  const some = to.to(rooms).except(except);
  switch (then) {
    case "emit":
      some.emit(event, ...args);
      break;
    case "join":
      some.socketsJoin(names);
      break;
    case "leave":
      some.socketsLeave(names);
      break;
    case "disconnect":
      some.disconnectSockets(close);
      break;
    case "server emit":
      to.serverSideEmit(event, ...args);
      break;
    default:
      throw new Error(`nobody can ${then}`);
  }
  return null;
}

async function run(command) {
  const namespace = io.of(command.nsp ?? "/");
  const to = operator(namespace, command);
  const { event, args = [] } = command;
  switch (command.do) {
    case "emit":
      to.emit(event, ...args);
      return null;
    case "ask":
      return outcome(to.emitWithAck(event, ...args));
    case "join":
      to.socketsJoin(command.names);
      return null;
    case "leave":
      to.socketsLeave(command.names);
      return null;
    case "disconnect":
      to.disconnectSockets(command.close);
      return null;
    case "fetch":
      return (await to.fetchSockets()).map(describe);
    case "remote":
      return remote(await to.fetchSockets(), command);
    case "server emit":
      namespace.serverSideEmit(event, ...args);
      return null;
    case "server ask":
      return outcome(namespace.serverSideEmitWithAck(event, ...args));
    case "notes":
      return notes.splice(0);
    case "count":
      return namespace.adapter.serverCount();
    case "emitter":
      return asEmitter(command);
    case "rooms":
      return [...(await namespace.adapter.allRooms())];
    default:
      throw new Error(`nobody can ${command.do}`);
  }
}

http.listen(0, "127.0.0.1", () => console.log(`listening on *:${http.address().port}`));

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { id, ...command } = decode(JSON.parse(line));
  try {
    console.log(JSON.stringify({ id, result: encode((await run(command)) ?? null) }));
  } catch (error) {
    console.log(JSON.stringify({ id, error: error.message }));
  }
});
lines.on("close", () => process.exit());
