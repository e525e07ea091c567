// A Redis server of the tests' own.
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { start } from "./process.mjs";
import { until, within } from "./time.mjs";

const freePort = () =>
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

/** Starts `redis-server` on a free port of this machine; it keeps nothing. */
export async function startRedis() {
  const port = await freePort();
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tmpdir()];
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
