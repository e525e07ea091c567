// The example of docs/SCALING.md for nginx, as it stands there: clients of all kinds, from several
// networks, before two servers of ours.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { Agent } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { io } from "sio-4.8.4";
import { workspace } from "../lib/paths.mjs";
import { start } from "../lib/process.mjs";
import { freePort, withRedis } from "../lib/redis.mjs";
import { until, within } from "../lib/time.mjs";
import { withCluster } from "./servers.mjs";

const LIMIT = 15_000;
const WAYS = { websocket: ["websocket"], upgrade: ["polling", "websocket"], polling: ["polling"] };
const NETWORKS = 8;
const EVENTS = 50;

/** The block in the document, with other addresses: every one of them has to stand there. */
async function example(ports, port) {
  const document = await readFile(path.join(workspace, "docs", "SCALING.md"), "utf8");
  let block = /```nginx\n([^]*?)```/.exec(document)?.[1] ?? "";
  const changes = [
    ["server 10.0.0.1:3000;", `server 127.0.0.1:${ports[0]};`],
    ["server 10.0.0.2:3000;", `server 127.0.0.1:${ports[1]};`],
    ["listen 80;", `listen 127.0.0.1:${port};`],
  ];
  for (const [from, to] of changes) {
    if (block.split(from).length !== 2) {
      throw new Error(`docs/SCALING.md has no nginx example with one "${from}"`);
    }
    block = block.replace(from, to);
  }
  return block;
}

const answers = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket.destroy()));
    socket.on("error", () => resolve(false));
  });

async function withNginx(ports, body) {
  const dir = await mkdtemp(path.join(tmpdir(), "nginx-"));
  const port = await freePort();
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((it) => `${it}_temp_path ${dir}/${it};`);
  await writeFile(
    path.join(dir, "nginx.conf"),
    `daemon off; pid ${dir}/pid; error_log stderr; worker_processes 1;
     events {}
     http { access_log off; ${temporary.join(" ")}
     ${await example(ports, port)} }`,
  );
  const nginx = start("nginx", ["-p", dir, "-c", "nginx.conf", "-e", "stderr"]);
  let ended;
  nginx.done.then(
    ({ stderr }) => (ended = stderr),
    (error) => (ended = `${error.message}; conformance/setup installs it or says how`),
  );
  try {
    await until(LIMIT, "nginx answers", () => {
      if (ended !== undefined) {
        throw new Error(`nginx does not start: ${ended}`);
      }
      return answers(port);
    });
    return await body(`http://127.0.0.1:${port}`);
  } finally {
    nginx.kill("SIGTERM");
    await within(LIMIT, "nginx ends", nginx.done).catch(() => {});
    await rm(dir, { recursive: true, force: true });
  }
}

/** A client in a network of its own: `ip_hash` looks at the first three numbers of the address. */
async function client(url, way, network) {
  const address = `127.0.${network}.1`;
  const agent = new Agent({ localAddress: address, keepAlive: true });
  const options = { transports: WAYS[way], agent, forceNew: true, reconnection: false };
  const socket = io(url, { ...options, auth: { name: address, rooms: [] } });
  const it = { socket, address, agent, numbers: [], ends: [] };
  socket.on("number", (number) => it.numbers.push(number));
  socket.on("disconnect", (reason) => it.ends.push(reason));
  const connected = new Promise((resolve, reject) => {
    socket.once("connect", resolve).once("connect_error", reject);
  });
  await within(LIMIT, `a client by ${way} connects`, connected);
  return it;
}

const equal = (what, found, expected) => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
  }
};

async function check(url, servers, way) {
  const clients = [];
  try {
    for (let network = 0; network < NETWORKS; network += 1) {
      clients.push(await client(url, way, network));
    }
    const last = way === "polling" ? "polling" : "websocket";
    await until(LIMIT, `all clients are on ${last}`, () =>
      clients.every(({ socket }) => socket.io.engine.transport.name === last),
    );
    const local = { do: "fetch", flags: { local: true } };
    const here = await Promise.all(servers.map((server) => server.tell(local)));
    if (here.some((sockets) => sockets.length === 0)) {
      throw new Error("all networks went to one server");
    }
    const from = here.flat().map(({ handshake }) => handshake.headers["x-forwarded-for"]);
    equal("who they are", from.sort(), clients.map(({ address }) => address).sort());
    const numbers = Array.from({ length: EVENTS }, (_, number) => number);
    for (const number of numbers) {
      await servers[number % 2].tell({ do: "emit", event: "number", args: [number] });
    }
    await until(LIMIT, "all events come", () => clients.every((it) => it.numbers.length >= EVENTS));
    for (const { numbers: found, ends } of clients) {
      equal("what came", found.sort((a, b) => a - b), numbers);
      equal("what ended", ends, []);
    }
  } finally {
    for (const { socket, agent } of clients) {
      socket.disconnect();
      agent.destroy();
    }
    await until(LIMIT, "all clients leave", async () => {
      const left = await Promise.all(servers.map((server) => server.tell({ do: "fetch" })));
      return left.every((sockets) => sockets.length === 0);
    });
  }
}

export async function runNginx({ report, binary }) {
  await withRedis(async (redis) => {
    const args = () => ["--redis", redis.url, "--mode", "pubsub", "--key", "nginx"];
    await withCluster({ kinds: ["rust", "rust"], binary, args }, (servers) =>
      withNginx(
        servers.map(({ url }) => new URL(url).port),
        async (url) => {
          for (const way of Object.keys(WAYS)) {
            await report.run(`clients of ${NETWORKS} networks by ${way}`, () => check(url, servers, way));
          }
        },
      ),
    );
  });
}
