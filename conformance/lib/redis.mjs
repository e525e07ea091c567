// A Redis server of the tests' own, or a cluster of three.
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { start } from "./process.mjs";
import { until, within } from "./time.mjs";

export const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const answers = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    const end = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("data", (data) => end(data.toString().startsWith("+PONG")));
    socket.on("error", () => end(false));
  });

/** Says something to the server of a port, and resolves with what it says. */
const ask = (port, words) =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`${words}\r\n`));
    socket.on("error", reject);
    socket.on("data", (data) => {
      socket.destroy();
      resolve(data.toString());
    });
  });

/** Starts `redis-server` on a free port of this machine; it keeps nothing. */
export async function startRedis({ dir = tmpdir(), options = [] } = {}) {
  const port = await freePort();
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, ...options];
  let server;
  const redis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async start() {
      server = start("redis-server", args.map(String));
      let ended;
      server.done.then(
        ({ code }) => (ended = `it ended with ${code}`),
        (error) => (ended = `${error.message}; conformance/setup installs it or says how`),
      );
      await until(20_000, "redis-server answers", () => {
        if (ended) {
          throw new Error(`redis-server does not start: ${ended}`);
        }
        return answers(port);
      });
    },
    /** Ends it at once. */
    async kill() {
      server.kill("SIGKILL");
      await within(5_000, "redis-server ends", server.done);
    },
    pause: () => server.kill("SIGSTOP"),
    resume: () => server.kill("SIGCONT"),
  };
  await redis.start();
  return redis;
}

/** Runs `body` with a Redis server of its own. */
export async function withRedis(body) {
  const redis = await startRedis();
  try {
    return await body(redis);
  } finally {
    await redis.kill();
  }
}

/** Runs `body` with a Redis Cluster of three nodes. */
export async function withRedisCluster(body) {
  const dir = await mkdtemp(path.join(tmpdir(), "redis-cluster-"));
  const nodes = [];
  try {
    for (const number of [0, 1, 2]) {
      const bus = await freePort();
      const file = `nodes-${number}.conf`;
      const options = ["--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-config-file", file];
      const node = await startRedis({ dir, options });
      nodes.push({ ...node, bus });
      await ask(node.port, `CLUSTER SET-CONFIG-EPOCH ${number + 1}`);
      await ask(node.port, `CLUSTER ADDSLOTSRANGE ${["0 5460", "5461 10922", "10923 16383"][number]}`);
    }
    for (const { port } of nodes.slice(1)) {
      await ask(port, `CLUSTER MEET 127.0.0.1 ${nodes[0].port} ${nodes[0].bus}`);
    }
    for (const { port } of nodes) {
      await until(20_000, "the nodes of the Redis Cluster know each other", async () =>
        /cluster_state:ok[^]*cluster_known_nodes:3/.test(await ask(port, "CLUSTER INFO")),
      );
    }
    return await body({ url: nodes.map(({ url }) => url).join() });
  } finally {
    await Promise.all(nodes.map((node) => node.kill()));
    await rm(dir, { recursive: true, force: true });
  }
}
