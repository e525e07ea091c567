// Everything that one server can do to the clients of all, each with what came of it. `tell` tells the
// server that begins it, `origin` is its number.
import { sleep, until } from "../lib/time.mjs";
import { canonical } from "./values.mjs";

const sorted = (values) => values.map((it) => canonical(it) ?? "undefined").sort();

const outcome = ({ answers, error }) => ({ answers: sorted(answers), error });

/** Names, rooms and data of sockets. */
const brief = (clients, sockets) =>
  sorted(clients.named(sockets).map(({ id, rooms, data }) => ({ id, rooms: rooms.sort(), data })));

/** What is the same of each handshake: the values, or at least that there are some. */
const handshake = ({ headers, time, address, xdomain, secure, issued, url, query, auth }) => ({
  headers: typeof headers.host,
  time: !Number.isNaN(Date.parse(time.replace(/ \(.*/, ""))),
  address: address.replace("::ffff:", ""),
  xdomain,
  secure,
  issued: Math.abs(Date.now() - issued) < 60_000,
  url: url.startsWith("/socket.io/?"),
  query: { EIO: query.EIO, q: query.q },
  auth,
});

const BINARY = Buffer.from([0, 1, 127, 128, 255]);

const VALUES = [
  1,
  -1,
  0.1,
  9007199254740991,
  -9007199254740991,
  "é日本😀\u0000\"\\\u2028",
  true,
  null,
  [],
  {},
  { a: [{ b: null }], "": "", ü: [[1]] },
];

const emit = (more) => async ({ tell, clients, id }) => {
  await tell({ do: "emit", event: "event", args: [1, "é"], ...(typeof more === "function" ? more(id) : more) });
  return clients.happened();
};

const ask = (more) => async ({ tell, clients }) => {
  const answers = outcome(await tell({ do: "ask", flags: { timeout: 2_000 }, args: [], ...more }));
  return [answers, await clients.happened()];
};

/** Who is in which rooms, when nothing changes any more. */
async function roomsOfAll({ tell, clients }) {
  await clients.happened();
  // The official server does what it has asked for itself only when it comes back from Redis.
  await sleep(30);
  return brief(clients, await tell({ do: "fetch" }));
}

const change = (...commands) => async (it) => {
  for (const command of commands) {
    await it.tell(typeof command === "function" ? command(it.id) : command);
  }
  const rooms = await roomsOfAll(it);
  await it.tell({ do: "emit", rooms: ["new"], event: "to new", args: [] });
  return [rooms, await it.clients.happened()];
};

const leave = (command) => async ({ tell, clients, id }) => {
  await tell({ do: "disconnect", ...(typeof command === "function" ? command(id) : command) });
  await sleep(100);
  const happened = await clients.happened();
  return [happened, brief(clients, await tell({ do: "fetch" }))];
};

const fetch = (more) => async ({ tell, clients }) => brief(clients, await tell({ do: "fetch", ...more }));

const remote = (more) => async ({ tell, clients, id }) => {
  const rooms = [id("c0"), id("c1"), id("c2")];
  const result = await tell({ do: "remote", rooms, args: [], ...more });
  await sleep(50);
  return [outcome(result), await clients.happened()];
};

/** What is for a room may have another channel than what is for all. */
const inAnyOrder = (happened) => Object.fromEntries(Object.entries(happened).map(([name, all]) => [name, sorted(all)]));

/** Namespaces have channels of their own, and between channels there is no order. */
const byNamespace = (all) => all.map((notes) => notes.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));

/** What all servers have noted. */
const notes = async (servers) => {
  await sleep(100);
  return Promise.all(servers.map((server) => server.tell({ do: "notes" })));
};

const askServers = (event, ...args) => async ({ tell }) => outcome(await tell({ do: "server ask", event, args }));

export const operations = {
  "emit to everybody": emit({}),
  "emit to a room": emit({ rooms: ["even"] }),
  "emit to a room of one other server": emit({ rooms: ["two"] }),
  "emit to rooms": emit({ rooms: ["odd", "two", "nobody"] }),
  "emit to rooms that share clients": emit({ rooms: ["even", "two"] }),
  "emit to one client of each server": async (it) => {
    const all = [];
    for (const name of ["c0", "c1", "c2"]) {
      all.push(await emit({ rooms: [it.id(name)] })(it));
    }
    return all;
  },
  "emit to all but a room": emit({ except: ["even"] }),
  "emit to all but some": emit((id) => ({ except: ["odd", id("c2")] })),
  "emit to a room but some": emit((id) => ({ rooms: ["even"], except: [id("c0")] })),
  "emit to nobody": emit({ rooms: ["nobody"] }),
  "emit volatile": async (it) => {
    // A client that polls may be between two requests, and then it loses the event.
    for (const server of [0, 1, 2]) {
      await it.clients.connect(server, `w${server}`, { rooms: ["sockets"], transports: ["websocket"] });
    }
    await it.clients.happened();
    // An official server can write again a little later than the client has read.
    await sleep(100);
    await it.tell({ do: "emit", rooms: ["sockets"], event: "event", args: [1, "é"], flags: { volatile: true } });
    // Nothing else may be under way to a client when the event comes to its server, a fence neither.
    const there = (name) => it.clients.all.find((client) => client.name === name).happened.length > 0;
    await until(2_000, "the event is with all", () => ["w0", "w1", "w2"].every(there));
    return it.clients.happened();
  },
  "emit uncompressed": emit({ flags: { compress: false }, rooms: ["even"] }),
  "emit on this server only": emit({ flags: { local: true } }),
  "emit any values": emit({ args: VALUES }),
  "emit no values": emit({ args: [] }),
  "emit binary data": emit({ args: [BINARY, { deep: [BINARY, "text", Buffer.alloc(0)] }, Buffer.alloc(70_000, 7)] }),
  "emit what looks like binary data": emit({ args: [{ _placeholder: true, num: 0 }] }),
  "emit to strange rooms": async (it) => {
    const rooms = ["*", "a#b", "[x]?", "ü", "#", " "];
    await it.tell({ do: "join", rooms: [it.id("c0")], names: rooms });
    await it.tell({ do: "join", rooms: [it.id("c1")], names: rooms });
    await roomsOfAll(it);
    for (const room of rooms) {
      await it.tell({ do: "emit", rooms: [room], event: room, args: [] });
    }
    return it.clients.happened();
  },
  "emit many, in order": async ({ tell, clients }) => {
    for (let number = 0; number < 200; number += 1) {
      const rooms = number % 3 ? [] : ["even"];
      await tell({ do: "emit", rooms, event: "n", args: number % 5 ? [number] : [number, BINARY] });
    }
    return clients.happened();
  },
  "a client shouts": async ({ clients, origin }) => {
    clients.all[origin].socket.emit("shout", "hello");
    clients.all[origin].socket.emit("whisper", "even", "psst");
    await sleep(100);
    return clients.happened();
  },

  "ask everybody": ask({ event: "name" }),
  "ask a room": ask({ event: "name", rooms: ["even"] }),
  "ask all but some": ask({ event: "name", except: ["even"] }),
  "ask nobody": ask({ event: "name", rooms: ["nobody"] }),
  "ask for any values": ask({ event: "echo", args: [VALUES] }),
  "ask for binary data": ask({ event: "echo", args: [{ it: BINARY }] }),
  "ask for a null": ask({ event: "echo", args: [null] }),
  "ask clients of which one is silent": ask({ event: "not c1", flags: { timeout: 300 } }),

  "sockets join": change({ do: "join", names: ["new", "newer"] }),
  "sockets of a room join": change({ do: "join", rooms: ["even"], names: ["new"] }),
  "sockets but some join": change({ do: "join", except: ["two"], names: ["new"] }),
  "one socket joins": change((id) => ({ do: "join", rooms: [id("c1")], names: ["new"] })),
  "sockets join and leave": change(
    { do: "join", names: ["new", "newer"] },
    { do: "leave", rooms: ["even"], names: ["new", "even"] },
  ),
  "sockets join here": change({ do: "join", flags: { local: true }, names: ["new"] }),

  "sockets are disconnected": leave({}),
  "sockets of a room are disconnected": leave({ rooms: ["even"] }),
  "sockets but some are disconnected, with their connections": leave((id) => ({ except: [id("c1")], close: true })),

  "fetch all sockets": fetch({}),
  "fetch the sockets of a room": fetch({ rooms: ["even"] }),
  "fetch all sockets but some": fetch({ except: ["even"] }),
  "fetch nobody": fetch({ rooms: ["nobody"] }),
  "fetch the sockets of this server": fetch({ flags: { local: true } }),
  "fetch handshakes": async ({ tell }) => sorted((await tell({ do: "fetch" })).map((it) => handshake(it.handshake))),

  "emit to fetched sockets": remote({ then: "emit", event: "event", args: [1, BINARY] }),
  "ask fetched sockets": remote({ then: "ask", event: "name" }),
  "fetched sockets join": async (it) => {
    await remote({ then: "join", names: ["new"] })(it);
    await remote({ then: "leave", names: ["even"] })(it);
    return roomsOfAll(it);
  },
  "disconnect fetched sockets": remote({ then: "disconnect", close: false }),

  "emit to servers": async ({ tell, servers }) => {
    await tell({ do: "server emit", event: "note", args: [1, "é", { a: [null] }] });
    await tell({ do: "server emit", nsp: "/other", event: "note", args: ["other"] });
    return byNamespace(await notes(servers));
  },
  "ask servers": askServers("sum", 1, 2),
  "ask servers for any values": askServers("echo", VALUES),
  "ask servers, which say nothing": askServers("nothing"),
  "ask servers, which are silent": askServers("silence"),
  "count servers": ({ tell }) => tell({ do: "count" }),

  "names of all rooms": async ({ tell, clients, servers, origin }) =>
    // Only the official server has this question; ours answers it.
    servers[origin].kind === "node" ? clients.named(await tell({ do: "rooms" })).sort() : ["c0", "c1", "c2", "even", "odd", "two"],

  "an emitter emits": async ({ tell, clients, id }) => {
    const emit = (more) => tell({ do: "emitter", then: "emit", event: "event", ...more });
    await emit({ args: VALUES });
    await emit({ args: [BINARY, { deep: [BINARY] }] });
    await emit({ args: [], rooms: ["even"] });
    await emit({ args: [1], rooms: ["even", "odd"], except: [id("c0")] });
    await emit({ args: [2], except: ["even"] });
    await emit({ args: [3], nsp: "/other" });
    await sleep(100);
    return clients.happened();
  },
  "an emitter moves sockets": async (it) => {
    await it.tell({ do: "emitter", then: "join", names: ["new", "newer"] });
    await it.tell({ do: "emitter", then: "leave", rooms: ["even"], names: ["newer", "even"] });
    await sleep(100);
    const rooms = await roomsOfAll(it);
    await it.tell({ do: "emitter", then: "disconnect", rooms: [it.id("c1")], close: true });
    await sleep(100);
    return [rooms, await it.clients.happened(), await roomsOfAll(it)];
  },
  "an emitter emits to servers": async ({ tell, servers }) => {
    await tell({ do: "emitter", then: "server emit", event: "note", args: [1, "é"] });
    return notes(servers);
  },

  "namespaces do not mix": async (it) => {
    await it.clients.connect(1, "other", { nsp: "/other", rooms: ["even"] });
    await it.tell({ do: "emit", event: "in /", args: [] });
    await it.tell({ do: "emit", nsp: "/other", event: "in /other", args: [] });
    await it.tell({ do: "emit", nsp: "/other", rooms: ["even"], event: "in /other even", args: [] });
    const happened = inAnyOrder(await it.clients.happened());
    return [happened, await fetch({ nsp: "/other" })(it), await ask({ nsp: "/other", event: "name" })(it)];
  },
  "dynamic namespaces": async (it) => {
    const nsp = "/room-7";
    for (const server of [0, 1, 2]) {
      await it.clients.connect(server, `d${server}`, { nsp, rooms: server ? ["d"] : [] });
    }
    await until(5_000, "the servers know each other", async () => {
      const counts = it.servers.map((server) => server.tell({ do: "count", nsp }));
      return (await Promise.all(counts)).every((count) => count === 3);
    });
    await it.tell({ do: "emit", nsp, event: "in /room-7", args: [BINARY] });
    await it.tell({ do: "emit", nsp, rooms: ["d"], event: "in d", args: [] });
    const happened = inAnyOrder(await it.clients.happened());
    return [happened, await fetch({ nsp })(it), await ask({ nsp, event: "name" })(it)];
  },
};

/** Only the first adapter can do these. */
export const onlyPubSub = [
  "names of all rooms",
  "an emitter emits",
  "an emitter moves sockets",
  "an emitter emits to servers",
];
