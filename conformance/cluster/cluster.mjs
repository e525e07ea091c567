// Our servers and official ones in one cluster; see README.md.
import { randomUUID } from "node:crypto";
import { withRedis } from "../lib/redis.mjs";
import { within } from "../lib/time.mjs";
import { Clients } from "./clients.mjs";
import { onlyPubSub, operations } from "./operations.mjs";
import { runMoves } from "./moves.mjs";
import { withCluster } from "./servers.mjs";
import { canonical } from "./values.mjs";

/** What our servers use, and what the official ones. */
const MODES = {
  pubsub: "pubsub",
  sharded: "sharded",
  "sharded-to-rooms": "sharded",
  "sharded-static": "sharded-static",
  streams: "streams",
};

const MIXED = ["rust", "rust", "node"];
const OFFICIAL = ["node", "node", "node"];

/** Servers that begin everything: one of ours, and the official one. */
const ORIGINS = [0, 2];

const OPERATION_LIMIT = 30_000;

const operationsOf = (mode) =>
  Object.entries(operations).filter(([name]) => mode === "pubsub" || !onlyPubSub.includes(name));

/** Runs every operation in a cluster, and gives what came of each or how it failed. */
async function observe(redis, mode, kinds, binary) {
  const args = (kind) => {
    const own = kind === "rust" ? mode : MODES[mode];
    return ["--redis", redis.url, "--mode", own, "--key", key];
  };
  const key = randomUUID();
  const results = new Map();
  await withCluster({ kinds, binary, args }, async (servers) => {
    for (const origin of ORIGINS) {
      for (const [name, operation] of operationsOf(mode)) {
        results.set(`${origin} ${name}`, await runOne(servers, origin, operation));
      }
    }
  });
  return results;
}

async function runOne(servers, origin, operation) {
  const clients = new Clients(servers);
  const id = (name) => clients.id(name);
  const tell = (command) => servers[origin].tell(command);
  try {
    await clients.connectAll();
    const done = operation({ servers, clients, origin, tell, id });
    return { result: canonical(await within(OPERATION_LIMIT, "the whole operation", done)) };
  } catch (error) {
    return { error };
  } finally {
    await clients.close();
  }
}

/** Compares a mixed cluster with an official one, operation by operation. */
export async function runCluster({ report, binary, modes = Object.keys(MODES), mixed = MIXED }) {
  await withRedis(async (redis) => {
    const official = new Map();
    for (const mode of modes) {
      const theirs = MODES[mode];
      if (!official.has(theirs)) {
        official.set(theirs, await observe(redis, mode, OFFICIAL, binary));
      }
      const expected = official.get(theirs);
      const found = await observe(redis, mode, mixed, binary);
      for (const origin of ORIGINS) {
        for (const [name] of operationsOf(mode)) {
          const key = `${origin} ${name}`;
          await report.run(`${mode}: ${name}, begun by ${mixed[origin]}`, () =>
            compare(found.get(key), expected.get(key)),
          );
        }
      }
    }
    await runMoves({ report, redis, binary });
  });
}

function compare(found, expected) {
  if (expected.error) {
    throw new Error(`in the official cluster: ${expected.error.message}`);
  }
  if (found.error) {
    throw found.error;
  }
  if (found.result !== expected.result) {
    throw new Error(`${found.result}\ninstead of\n${expected.result}`);
  }
}
