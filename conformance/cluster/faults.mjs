// What happens to what when something dies, under traffic; see docs/SCALING.md.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { io } from "sio-4.8.4";
import { withRedis } from "../lib/redis.mjs";
import { sleep, until, within } from "../lib/time.mjs";
import { withCluster } from "./servers.mjs";

const MODES = ["pubsub", "sharded", "streams"];

const LIMIT = 30_000;

/** Events in each direction, one every so many milliseconds. */
const PERIOD = 2;

/** A way to Redis that can be cut off. */
async function startLink(port) {
  const pairs = new Set();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    const pair = [near, far];
    pairs.add(pair);
    near.pipe(far).pipe(near);
    for (const end of pair) {
      end.on("error", () => {});
      end.on("close", () => {
        pairs.delete(pair);
        pair.forEach((it) => it.destroy());
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `redis://127.0.0.1:${server.address().port}`,
    cut: () => pairs.forEach((pair) => pair.forEach((end) => end.destroy())),
    close: () => {
      server.close();
      pairs.forEach((pair) => pair.forEach((end) => end.destroy()));
    },
  };
}

const FAULTS = {
  "Redis is killed, and back after 2 s": async ({ redis }) => {
    await redis.kill();
    await sleep(2_000);
    await redis.start();
  },
  "Redis stands still for 10 s": async ({ redis }) => {
    redis.pause();
    await sleep(10_000);
    redis.resume();
  },
  "the connections to Redis are cut": async ({ link }) => link.cut(),
  "another server is killed": async ({ victim }) => {
    victim.kill("SIGKILL");
    await sleep(100);
  },
};

/** A client that writes down the numbers that come from each server. */
async function listen(server) {
  const socket = io(server.url, { transports: ["websocket"], forceNew: true });
  const numbers = new Map();
  socket.on("number", (from, number) => {
    if (!numbers.has(from)) {
      numbers.set(from, []);
    }
    numbers.get(from).push(number);
  });
  await within(LIMIT, "a client connects", new Promise((resolve) => socket.once("connect", resolve)));
  return { of: (from) => numbers.get(from) ?? [], close: () => socket.disconnect() };
}

/** Numbers to everybody, until it is stopped. */
function talk(server, from) {
  let stopped = false;
  let number = 0;
  let slowest = 0;
  const talking = (async () => {
    while (!stopped) {
      const begun = Date.now();
      await server.tell({ do: "emit", event: "number", args: [from, number] });
      slowest = Math.max(slowest, Date.now() - begun);
      number += 1;
      await sleep(PERIOD);
    }
  })();
  return async () => {
    stopped = true;
    await talking;
    return { count: number, slowest };
  };
}

const memory = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);

const isSorted = (numbers) => numbers.every((number, index) => index === 0 || numbers[index - 1] < number);

/** Lets one thing happen. Fails if it hurts what it must not; resolves with what it cost. */
async function suffer(redis, mode, binary, fault) {
  const link = await startLink(redis.port);
  const args = () => ["--redis", link.url, "--mode", mode, "--key", randomUUID()];
  const shared = args();
  try {
    return await withCluster({ kinds: ["rust", "rust", "rust"], binary, args: () => shared }, async (servers) => {
      const [a, b, victim] = servers;
      const [atA, atB] = [await listen(a), await listen(b)];
      const stop = [talk(a, "a"), talk(b, "b")];
      await sleep(1_000);
      const before = memory(a.pid);
      await fault({ redis, link, victim });
      const over = Date.now();
      const seen = atB.of("a").length;
      await until(LIMIT, "events of the other server come again", () => atB.of("a").length > seen);
      const fetched = async () => (await a.tell({ do: "fetch" }).catch(() => [])).length === 2;
      await until(LIMIT, "sockets of the other server are found again", fetched);
      const back = Date.now() - over;
      await sleep(1_000);
      const [ofA, ofB] = await Promise.all(stop.map((it) => it()));
      await until(LIMIT, "what was said arrives here", () => atA.of("a").length === ofA.count);
      await until(LIMIT, "what was said arrives there", () => atB.of("b").length === ofB.count);
      // What is still under way to the other server follows what it has got.
      await a.tell({ do: "emit", event: "number", args: ["a", ofA.count] });
      await until(LIMIT, "the last one arrives", () => atB.of("a").at(-1) === ofA.count);
      for (const [name, numbers] of Object.entries({ "a here": atA.of("a"), "a there": atB.of("a") })) {
        if (!isSorted(numbers)) {
          throw new Error(`events of ${name} are not in their order`);
        }
      }
      const slowest = Math.max(ofA.slowest, ofB.slowest);
      if (slowest > 1_000) {
        throw new Error(`an emit took ${slowest} ms`);
      }
      const growth = memory(a.pid) - before;
      if (growth > 32 * 1024) {
        throw new Error(`the server has grown by ${growth} KiB`);
      }
      atA.close();
      atB.close();
      return { sent: ofA.count + 1, lost: ofA.count + 1 - atB.of("a").length, back, growth };
    });
  } finally {
    link.close();
  }
}

/** Runs every fault in every mode, and prints what came of it as a table. */
export async function runFaults({ report, binary }) {
  const rows = [];
  for (const [name, fault] of Object.entries(FAULTS)) {
    for (const mode of MODES) {
      await report.run(`${mode}: ${name}`, () =>
        withRedis(async (redis) => {
          const { sent, lost, back, growth } = await suffer(redis, mode, binary, fault);
          rows.push(`| ${name} | ${mode} | 0 | ${lost} of ${sent} | ${(back / 1000).toFixed(2)} s | ${Math.round(growth / 1024)} MiB |`);
        }),
      );
    }
  }
  console.log("\n| what happens | mode | lost here | lost there | cluster whole again after | memory |");
  console.log(["|---|---|---|---|---|---|", ...rows, ""].join("\n"));
}
