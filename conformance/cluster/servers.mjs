// Servers that share a cluster, ours and official ones, and what they are told.
import path from "node:path";
import readline from "node:readline";
import { conformance } from "../lib/paths.mjs";
import { start } from "../lib/process.mjs";
import { until, within } from "../lib/time.mjs";
import { decode, encode } from "./values.mjs";

const NODE = path.join(conformance, "cluster", "node.mjs");

const LIMIT = 15_000;

/** Starts one server: `kind` is `rust` or `node`. */
async function startServer(kind, binary, args) {
  const waiting = new Map();
  let port;
  const onLine = (line) => {
    const listening = /^listening on .*:(\d+)$/.exec(line);
    if (listening) {
      port = Number(listening[1]);
      return;
    }
    const { id, error, result } = JSON.parse(line);
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    error === undefined ? resolve(decode(result)) : reject(new Error(`${kind}: ${error}`));
  };
  const options = { onLine, stdio: ["pipe", "pipe", "pipe"] };
  const [command, first] = kind === "rust" ? [binary, []] : [process.execPath, [NODE]];
  const { stdin, done, kill, pid } = start(command, [...first, ...args], options);
  let ended;
  done.then(
    (end) => (ended = end),
    (error) => (ended = { stderr: error.message }),
  );
  await until(LIMIT, `a ${kind} server listens`, () => {
    if (ended) {
      throw new Error(`a ${kind} server did not start: ${ended.stderr}`);
    }
    return port;
  });
  let isKilled = false;
  let nextId = 0;
  // One that was killed takes nothing any more.
  stdin.on("error", () => {});
  return {
    kind,
    url: `http://127.0.0.1:${port}`,
    pid,
    /** Tells it something, and resolves with what came of it. */
    tell(command) {
      const id = nextId++;
      const answer = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
      stdin.write(`${JSON.stringify(encode({ id, ...command }))}\n`);
      return within(LIMIT, `${kind}: ${command.do}`, answer);
    },
    async stop() {
      stdin.end();
      const end = await within(LIMIT, `a ${kind} server ends`, done);
      if (isKilled) {
        return;
      }
      if (end.code !== 0 || end.stderr.includes("panicked at")) {
        throw new Error(`a ${kind} server ended with ${end.code}: ${end.stderr}`);
      }
    },
    /** Ends it at once. */
    kill(signal) {
      isKilled = true;
      kill(signal);
    },
  };
}

/** Runs `body` with servers of these kinds, when all know each other. */
export async function withCluster({ kinds, binary, args }, body) {
  const servers = [];
  try {
    for (const kind of kinds) {
      servers.push(await startServer(kind, binary, args(kind)));
    }
    for (const nsp of kinds.length > 1 ? ["/", "/other"] : []) {
      await until(LIMIT, "the servers know each other", async () => {
        const counts = servers.map((server) => server.tell({ do: "count", nsp }));
        return (await Promise.all(counts)).every((count) => count === kinds.length);
      });
    }
    return await body(servers);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}
