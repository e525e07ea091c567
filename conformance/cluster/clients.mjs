// A client of each server, which writes down what happens to it.
import { io } from "sio-4.8.4";
import { until, within } from "../lib/time.mjs";
import { encode } from "./values.mjs";

const LIMIT = 5_000;

let fences = 0;

/** Transports of the clients, by turns. */
const WAYS = [["websocket"], ["polling", "websocket"], ["polling"]];

export class Clients {
  constructor(servers) {
    this.servers = servers;
    this.all = [];
  }

  /** One more, of this server, called `name`. */
  async connect(server, name, { nsp = "/", rooms = [], transports = WAYS[server % WAYS.length] } = {}) {
    const socket = io(this.servers[server].url + nsp, {
      auth: { name, rooms, nested: { list: [1, "ü", null] } },
      query: { q: "ü" },
      transports,
      forceNew: true,
      reconnection: false,
    });
    const client = { name, nsp, socket, happened: [], fences: new Set() };
    socket.onAny((event, ...args) => {
      if (event === "fence") {
        client.fences.add(args[0]);
        return;
      }
      const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
      client.happened.push([event, ...args.map(encode)]);
      if (answer) {
        ANSWERS[event]?.(answer, client, ...args);
      }
    });
    socket.on("disconnect", (reason) => client.happened.push(["disconnect", reason]));
    this.all.push(client);
    const connected = new Promise((resolve, reject) => {
      socket.once("connect", resolve).once("connect_error", reject);
    });
    await within(LIMIT, `${name} connects`, connected);
    client.id = socket.id;
    return client;
  }

  /** One of each server: `c0` in the room `even`, `c1` in `odd`, `c2` in `even` and `two`. */
  async connectAll(nsp = "/") {
    await this.connect(0, "c0", { nsp, rooms: ["even"] });
    await this.connect(1, "c1", { nsp, rooms: ["odd"] });
    await this.connect(2, "c2", { nsp, rooms: ["even", "two"] });
  }

  id(name) {
    return this.all.find((client) => client.name === name).id;
  }

  /** Names instead of ids, which nobody can foresee. */
  named(value) {
    let text = JSON.stringify(value);
    for (const { name, id } of this.all) {
      text = text.replaceAll(id, name);
    }
    return JSON.parse(text);
  }

  /**
   * What has happened to each, when everything that was sent before has arrived: every server's
   * events come in order, so one more of each is waited for.
   */
  async happened() {
    // The first once more: at a Redis Cluster what is for a room comes another way than the fence.
    for (const server of [...this.servers, this.servers[0]]) {
      const fence = (fences += 1);
      const nsps = new Set(this.all.map(({ nsp }) => nsp));
      await Promise.all([...nsps].map((nsp) => server.tell({ do: "emit", nsp, event: "fence", args: [fence] })));
      for (const client of this.all) {
        const come = () => client.fences.has(fence) || !client.socket.connected;
        await until(LIMIT, `a last event at ${client.name}`, come);
      }
    }
    return Object.fromEntries(this.all.map(({ name, happened }) => [name, happened.splice(0)]));
  }

  /** Resolves when no server knows any of them any more. */
  async close() {
    this.all.forEach(({ socket }) => socket.disconnect());
    const nsps = [...new Set(this.all.map(({ nsp }) => nsp))];
    const here = { do: "fetch", flags: { local: true } };
    for (const server of this.servers) {
      await until(LIMIT, "the clients are gone", async () => {
        const left = await Promise.all(nsps.map((nsp) => server.tell({ ...here, nsp })));
        return left.flat().length === 0;
      });
    }
  }
}

/** What clients answer. */
const ANSWERS = {
  name: (answer, { name }) => answer(name),
  echo: (answer, _, ...args) => answer(args[0]),
  many: (answer, { name }) => answer(name, 2, [3]),
  nothing: (answer) => answer(),
  "not c1": (answer, { name }) => name === "c1" || answer(name),
};
