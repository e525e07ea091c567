// Our servers and official ones in one cluster; see README.md.
import { randomUUID } from "node:crypto";
import { withRedis, withRedisCluster } from "../lib/redis.mjs";
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

/** Those of them that are also tried on a Redis Cluster. */
const ON_CLUSTER = ["sharded", "sharded-static"];

/** There the official server writes what is for a room to another node, so it may come sooner or later. */
const UNORDERED = ["emit to strange rooms", "emit many, in order", "a client shouts"];
const isUnordered = (mode, origin, name) =>
  mode === "sharded" && origin === "node" && UNORDERED.includes(name);

const MIXED = ["rust", "rust", "node"];
const OFFICIAL = ["node", "node", "node"];

/** Servers that begin everything: one of ours, and the official one. */
const ORIGINS = [0, 2];

const OPERATION_LIMIT = 30_000;

/** Of emitters from npm there is one for the usual channels; ours has all modes, and comes to the same. */
const isOfEmitter = (name) => name.startsWith("an emitter");

const operationsOf = (mode, kind) =>
  Object.entries(operations).filter(
    ([name]) =>
      mode === "pubsub" || !onlyPubSub.includes(name) || (kind === "rust" && isOfEmitter(name)),
  );

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
      for (const [name, operation] of operationsOf(mode, kinds[origin])) {
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
  const official = new Map();
  const expected = (mode, key, name) => official.get(isOfEmitter(name) ? "pubsub" : MODES[mode]).get(key);
  const check = (mode, where, found, leftOut = () => false) =>
    Promise.all(
      ORIGINS.flatMap((origin) =>
        operationsOf(mode, mixed[origin])
          .filter(([name]) => !leftOut(mode, mixed[origin], name))
          .map(([name]) =>
            report.run(`${mode}${where}: ${name}, begun by ${mixed[origin]}`, () =>
              compare(found.get(`${origin} ${name}`), expected(mode, `${origin} ${name}`, name)),
            ),
          ),
      ),
    );
  await withRedis(async (redis) => {
    official.set("pubsub", await observe(redis, "pubsub", OFFICIAL, binary));
    for (const mode of modes) {
      const theirs = MODES[mode];
      if (!official.has(theirs)) {
        official.set(theirs, await observe(redis, mode, OFFICIAL, binary));
      }
      await check(mode, "", await observe(redis, mode, mixed, binary));
    }
  });
  await withRedisCluster(async (redis) => {
    for (const mode of modes.filter((mode) => ON_CLUSTER.includes(mode))) {
      const found = await observe(redis, mode, mixed, binary);
      await check(mode, " on a Redis Cluster", found, isUnordered);
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
