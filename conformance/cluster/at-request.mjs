// What clients make three servers of ours do to all clients of the cluster, with each adapter and parser:
// in checks of our own, and in the script by which socketioxide tries its adapters, where it is there.
import { cpSync, existsSync } from "node:fs";
import path from "node:path";
import { io } from "sio-4.8.4";
import msgpack from "socket.io-msgpack-parser";
import { conformance } from "../lib/paths.mjs";
import { run } from "../lib/process.mjs";
import { withRedis, withRedisCluster } from "../lib/redis.mjs";
import { until, within } from "../lib/time.mjs";
import { emptyFolder, installPackages } from "../suites/mocha.mjs";
import { withCluster } from "./servers.mjs";

const LIMIT = 10_000;
const KINDS = ["rust", "rust", "rust"];
const CLIENTS = 6;
const ROOMS = ["room1", "room2", "room4", "room5"];
const MODES = ["pubsub", "sharded", "streams"];
const PARSERS = { default: "json", msgpack: "msgpack" };

const HOW_TO_GET =
  "check out github.com/Totodore/socketioxide and name its folder e2e/adapter: conformance/run --adapter-script DIR, or SOCKETIOXIDE_ADAPTER_SCRIPT=DIR";

const equal = (what, found, expected) => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
  }
};

const once = (socket, event) =>
  within(LIMIT, event, new Promise((resolve) => socket.once(event, (...args) => resolve(args))));
const ask = (socket, ...args) => socket.timeout(LIMIT).emitWithAck(...args);
const ids = (sockets) => sockets.map(({ id }) => id).sort();

/** What each check does with clients of which two neighbours are never at the same server. */
const CHECKS = {
  async "greetings reach all"(sockets) {
    for (const event of ["broadcast", "volatile_broadcast"]) {
      for (const from of sockets) {
        const heard = Promise.all(sockets.map((socket) => once(socket, event)));
        from.emit(event);
        equal(event, await heard, sockets.map(() => [`hello from ${from.id}`]));
      }
    }
  },
  async "all are asked"(sockets) {
    for (const socket of sockets) {
      socket.on("broadcast_with_ack", (_, answer) => answer(`I am ${socket.id}`));
    }
    for (const from of sockets) {
      const answers = await ask(from, "broadcast_with_ack");
      equal("answers", answers.sort(), ids(sockets).map((id) => `I am ${id}`));
    }
  },
  async "all sockets and rooms are found"(sockets) {
    for (const from of sockets) {
      const found = await ask(from, "fetch_sockets");
      equal("sockets", ids(found), ids(sockets));
      equal("namespaces", [...new Set(found.map(({ ns }) => ns))], ["/"]);
      equal("rooms", (await ask(from, "rooms")).sort(), [...ROOMS, ...ids(sockets)].sort());
    }
  },
  async "all join and leave"(sockets) {
    await ask(sockets[0], "join_room");
    await ask(sockets[0], "leave_room");
    const rooms = [...ROOMS.filter((it) => it !== "room4"), "room7"];
    equal("rooms", (await ask(sockets[0], "rooms")).sort(), [...rooms, ...ids(sockets)].sort());
  },
  async "one is greeted, asked, moved"(sockets) {
    for (const [index, from] of sockets.entries()) {
      const to = sockets[(index + 1) % sockets.length];
      const hello = `hello from ${from.id}`;
      let heard = once(to, "emit");
      await ask(from, "emit_from_remote_sock", to.id);
      equal("greeting", await heard, [hello]);
      heard = once(to, "emit");
      const answer = ask(from, "emit_with_ack_from_remote_sock", to.id);
      const [text, reply] = await heard;
      reply(`${text}, too`);
      equal("answer", await answer, `${hello}, too`);
      const before = await ask(from, "get_rooms_remote_sock", to.id);
      equal("rooms", before.sort(), [...ROOMS, to.id].sort());
      await ask(from, "join_room_from_remote_sock", to.id);
      await ask(from, "leave_room_from_remote_sock", to.id);
      const rooms = [...ROOMS.filter((it) => it !== "room4"), to.id, hello];
      equal("rooms", (await ask(from, "get_rooms_remote_sock", to.id)).sort(), rooms.sort());
    }
  },
  async "one is disconnected, then all"(sockets) {
    const gone = once(sockets[0], "disconnect");
    await ask(sockets[1], "disconnect_remote_sock", sockets[0].id);
    equal("reason", (await gone)[0], "io server disconnect");
    const others = Promise.all(sockets.slice(1).map((socket) => once(socket, "disconnect")));
    sockets[1].emit("disconnect_socket");
    await others;
  },
};

async function withClients(servers, parser, body) {
  const sockets = [];
  try {
    for (let number = 0; number < CLIENTS; number += 1) {
      const options = parser === "msgpack" ? { parser: msgpack } : {};
      const { url } = servers[number % servers.length];
      const socket = io(url, { ...options, forceNew: true, reconnection: false });
      sockets.push(socket);
      await once(socket, "connect");
    }
    // In the middle of an upgrade a volatile event may be lost.
    await until(LIMIT, "all clients are on WebSocket", () =>
      sockets.every((socket) => socket.io.engine.transport.name === "websocket"),
    );
    await body(sockets);
  } finally {
    sockets.forEach((socket) => socket.disconnect());
  }
}

/**
 * Runs the script, as it is. It waits for volatile events in the middle of upgrades, where any server may
 * lose them, so it has three attempts.
 */
async function runScript(folder, servers, parser) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await runScriptOnce(folder, servers, parser);
    } catch (error) {
      if (attempt === 3 || !/volatile/.test(error.message)) {
        throw error;
      }
    }
  }
}

async function runScriptOnce(folder, servers, parser) {
  const ports = servers.map(({ url }) => new URL(url).port).join();
  const env = { ...process.env, PORTS: ports, PARSER: PARSERS[parser] };
  const args = ["--import=tsx", "--test", "--test-reporter=tap", "client.ts"];
  const { code, stdout, stderr } = await run(process.execPath, args, { cwd: folder, env, ms: 120_000 });
  const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
  if (code !== 0 || !(passed > 0)) {
    const failures = stdout.split("\n").filter((line) => /not ok|error:/.test(line));
    throw new Error([...failures, stderr].join("\n").slice(0, 2_000));
  }
  return passed;
}

async function prepare(source) {
  const folder = emptyFolder("adapter-script");
  cpSync(path.join(conformance, "suites", "adapter-script"), folder, { recursive: true });
  for (const file of ["client.ts", "fixture.ts"]) {
    cpSync(path.join(source, file), path.join(folder, file));
  }
  await installPackages(folder);
  return folder;
}

export async function runAtRequest({ report, binary, script = process.env.SOCKETIOXIDE_ADAPTER_SCRIPT }) {
  let folder;
  if (script && existsSync(script)) {
    folder = await prepare(script);
  } else {
    report.skip(`the script of socketioxide (${script ? `${script} does not exist; ` : ""}${HOW_TO_GET})`);
  }
  const all = async (redis, modes, where) => {
    for (const mode of modes) {
      for (const parser of Object.keys(PARSERS)) {
        const name = `${mode}${where}, ${parser} parser`;
        const options = ["--redis", redis.url, "--mode", mode, "--key", name];
        const args = () => [...options, "--serve", "at-request", "--parser", parser];
        await withCluster({ kinds: KINDS, binary, args }, async (servers) => {
          for (const [check, body] of Object.entries(CHECKS)) {
            await report.run(`${name}: ${check}`, () => withClients(servers, parser, body));
          }
          if (folder) {
            await report.run(`${name}: the script of socketioxide`, () => runScript(folder, servers, parser));
          }
        });
      }
    }
  };
  await withRedis((redis) => all(redis, MODES, ""));
  await withRedisCluster((redis) => all(redis, MODES, " on a Redis Cluster"));
}
