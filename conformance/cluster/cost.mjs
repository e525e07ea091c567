// What an adapter costs: the servers' CPU time for each event that a client gets. No part of the
// tests; `node conformance/cluster/cost.mjs`. One client shouts, all others hear it.
import { randomUUID } from "node:crypto";
import { io } from "sio-4.8.4";
import { cpu, median } from "../lib/cpu.mjs";
import { withRedis } from "../lib/redis.mjs";
import { binaries } from "../lib/server.mjs";
import { until } from "../lib/time.mjs";
import { withCluster } from "./servers.mjs";

const CLIENTS = 40;
const SHOUTS = 4_000;
const ROUNDS = 3;
const LIMIT = 60_000;

/** Microseconds of CPU time for each delivery. */
async function measure(redis, binary, kind, nodes, mode) {
  const args = ["--redis", redis.url, "--mode", mode, "--key", randomUUID()];
  const kinds = Array.from({ length: nodes }, () => kind);
  return withCluster({ kinds, binary, args: () => args }, async (servers) => {
    let heard = 0;
    const clients = Array.from({ length: CLIENTS }, (_, index) => {
      const url = servers[index % nodes].url;
      const socket = io(url, { transports: ["websocket"], forceNew: true, auth: { name: `c${index}` } });
      socket.on("heard", () => (heard += 1));
      return socket;
    });
    await until(LIMIT, "all are connected", () => clients.every((client) => client.connected));
    const shout = async (times) => {
      const expected = heard + times * (CLIENTS - 1);
      for (let sent = 0; sent < times; sent += 1) {
        clients[0].emit("shout", "the quick brown fox jumps over the lazy dog");
        if (sent % 50 === 0) {
          await new Promise(setImmediate);
        }
      }
      await until(LIMIT, "all is heard", () => heard === expected);
    };
    await shout(200);
    const before = servers.reduce((sum, server) => sum + cpu(server.pid), 0);
    await shout(SHOUTS);
    const spent = servers.reduce((sum, server) => sum + cpu(server.pid), 0) - before;
    clients.forEach((client) => client.disconnect());
    return spent / (SHOUTS * (CLIENTS - 1));
  });
}

const CASES = [
  ["rust", 1, "none"],
  ["rust", 1, "pubsub"],
  ["rust", 1, "sharded"],
  ["rust", 1, "streams"],
  ["rust", 2, "pubsub"],
  ["rust", 2, "streams"],
  ["node", 1, "none"],
  ["node", 2, "pubsub"],
  ["node", 2, "streams"],
];

const binary = process.env.CLUSTER_SERVER_BIN ?? (await binaries(["cluster-server"]))["cluster-server"];
await withRedis(async (redis) => {
  const costs = CASES.map(() => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, one] of CASES.entries()) {
      costs[index].push(await measure(redis, binary, ...one));
    }
  }
  console.log("| servers | nodes | adapter | CPU for each delivery |\n|---|---|---|---|");
  CASES.forEach(([kind, nodes, mode], index) => {
    console.log(`| ${kind} | ${nodes} | ${mode} | ${median(costs[index]).toFixed(2)} µs |`);
  });
});
process.exit();
