// Real clients behind a load balancer that is not sticky; see README.md.
import { runCells, SERVER_ARGS } from "../clients/clients.mjs";
import { cells } from "../clients/cells.mjs";
import { startBalancer } from "../lib/balancer.mjs";
import { withRedis } from "../lib/redis.mjs";
import { startServer } from "../lib/server.mjs";
import { deadServer } from "./dead.mjs";

/** Three, so that an odd and an even number of requests between two of a kind both matter. */
const SERVERS = 3;

/** Runs `body` with so many servers that pass requests on, and a balancer in front of them. */
async function withBalancer(binary, redis, args, body) {
  const servers = [];
  let balancer;
  try {
    while (servers.length < SERVERS) {
      servers.push(await startServer(binary, [...args, "--redis", redis.url]));
    }
    balancer = await startBalancer(servers.map(({ url }) => url));
    return await body(balancer, servers);
  } finally {
    await balancer?.stop();
    for (const server of servers) {
      await server.stop();
    }
  }
}

/** Every client, by every way that has more than one request. */
export async function runRelay({ report, binary, only = [] }) {
  const chosen = cells.filter(
    ({ way, parser, name }) =>
      way !== "websocket" && !parser && (!only.length || only.some((part) => name.includes(part))),
  );
  await withRedis(async (redis) => {
    await withBalancer(binary, redis, SERVER_ARGS, async (balancer) => {
      await runCells({ report, cells: chosen, urls: { default: balancer.url } });
      await report.run("every server got its share", () => {
        const counts = balancer.targets.map(({ requests, upgrades }) => `${requests} and ${upgrades}`);
        console.log(`        requests and upgrades at each server: ${counts.join(", ")}`);
        if (balancer.targets.some(({ requests }) => requests < 10)) {
          throw new Error(counts.join(", "));
        }
      });
    });
    await deadServer({ report, binary, redis });
  });
}
