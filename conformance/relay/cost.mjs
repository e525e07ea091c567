// What it costs that a request reaches the wrong server: CPU time of both servers, without Redis, for
// each message that comes back by polling. No part of the tests; `node conformance/relay/cost.mjs`.
import http from "node:http";
import { cpu, median } from "../lib/cpu.mjs";
import { withRedis } from "../lib/redis.mjs";
import { binaries, startServer } from "../lib/server.mjs";

const ECHOES = 4_000;
const ROUNDS = 3;
const PATH = "/engine.io/?EIO=4&transport=polling";

/** Asks over one connection, which is kept. */
function client(url) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  return (query, body) =>
    new Promise((resolve, reject) => {
      const options = { agent, method: body ? "POST" : "GET" };
      const request = http.request(url + PATH + query, options, (response) => {
        let text = "";
        response.on("data", (part) => (text += part));
        response.on("end", () => resolve(text));
      });
      request.on("error", reject).end(body);
    });
}

/** Microseconds of CPU time for each echo, of a session at one server with its requests at another. */
async function measure(servers, owner, other) {
  const { sid } = JSON.parse((await client(owner.url)("")).slice(1));
  const [get, post] = [client(other.url), client(other.url)];
  /** Answers pings on the way. */
  const next = async () => {
    for (;;) {
      const packets = (await get(`&sid=${sid}`)).split("\x1e");
      if (packets.includes("2")) {
        await post(`&sid=${sid}`, "3");
      }
      const message = packets.find((it) => it.startsWith("4"));
      if (message) {
        return message;
      }
    }
  };
  const echo = async (times) => {
    for (let sent = 0; sent < times; sent += 1) {
      const text = `4the quick brown fox ${sent}`;
      const [answer, back] = await Promise.all([post(`&sid=${sid}`, text), next()]);
      if (answer !== "ok" || back !== text) {
        throw new Error(`${answer} and ${back} instead of ok and ${text}`);
      }
    }
  };
  const spent = () => servers.reduce((sum, { pid }) => sum + cpu(pid), 0);
  await echo(200);
  const before = spent();
  await echo(ECHOES);
  return (spent() - before) / ECHOES;
}

const built = await binaries(["conformance-server"]);
await withRedis(async (redis) => {
  const args = ["--redis", redis.url, "--ping-timeout", "5000"];
  const servers = [];
  for (const _ of [0, 1]) {
    servers.push(await startServer(built["conformance-server"], args));
  }
  const [owner, other] = servers;
  const results = { right: [], wrong: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    results.right.push(await measure(servers, owner, owner));
    results.wrong.push(await measure(servers, owner, other));
  }
  const [right, wrong] = [median(results.right), median(results.wrong)];
  console.log(`at the server that has the session: ${right.toFixed(1)} µs of CPU time for each echo`);
  console.log(`at another one: ${wrong.toFixed(1)} µs, ${(wrong / right).toFixed(2)} times as much`);
  await Promise.all(servers.map((server) => server.stop()));
  process.exit();
});
