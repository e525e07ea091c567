// A server dies while others pass requests on to it.
import { io } from "sio-4.8.4";
import { startBalancer } from "../lib/balancer.mjs";
import { startServer } from "../lib/server.mjs";
import { until } from "../lib/time.mjs";

/** How long a client may take to find out, and to be somewhere else. */
const LIMIT = 15_000;

export async function deadServer({ report, binary, redis }) {
  const args = ["--redis", redis.url, "--ping-timeout", "5000"];
  const servers = [await startServer(binary, args), await startServer(binary, args)];
  const [doomed, other] = servers;
  const balancer = await startBalancer(servers.map(({ url }) => url));
  const clients = [];
  try {
    for (const transports of [["polling"], ["polling", "websocket"]]) {
      for (let n = 0; n < 4; n += 1) {
        clients.push(io(balancer.url, { transports, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500 }));
      }
    }
    const connected = () => clients.every((client) => client.connected);
    /** The names of the servers that have their sessions. */
    const owners = () => new Set(clients.map((client) => client.io.engine.id.split(".")[1]));
    await until(LIMIT, "all clients are there", connected);
    if (owners().size !== 2) {
      throw new Error("not every server has sessions");
    }
    let lost = 0;
    clients.forEach((client) => client.on("disconnect", () => (lost += 1)));
    const killed = Date.now();
    doomed.kill();
    balancer.targets.splice(0, 1);
    await report.run("clients of a server that died are at another one soon", async () => {
      await until(LIMIT, "all clients are at the other server", () => connected() && owners().size === 1);
      console.log(`        ${lost} of ${clients.length} had to begin anew, all there after ${Date.now() - killed} ms`);
      // Some may find out only now that the server in between was the one that died.
      const answers = (client) =>
        client.timeout(2_000).emitWithAck("message-with-ack", 1, "é").then(
          (answer) => [answer].flat()[0] === 1,
          () => false,
        );
      for (const client of clients) {
        await until(LIMIT, "an answer", () => answers(client));
      }
    });
  } finally {
    clients.forEach((client) => client.disconnect());
    await balancer.stop();
    await other.stop();
  }
}
