// A load balancer without a memory: each request, of whatever connection, goes to the next server.
import http from "node:http";
import { connect } from "node:net";

/** Starts one in front of servers at these addresses. It counts what each of them got. */
export async function startBalancer(urls) {
  const targets = urls.map((url) => ({ port: Number(new URL(url).port), requests: 0, upgrades: 0 }));
  const agent = new http.Agent({ keepAlive: true });
  const sockets = new Set();
  let turn = 0;
  const next = () => targets[turn++ % targets.length];

  const server = http.createServer((request, response) => {
    const target = next();
    target.requests += 1;
    const { method, url: path, rawHeaders: headers } = request;
    const forwarded = http.request({ agent, host: "127.0.0.1", port: target.port, method, path, headers });
    forwarded.on("response", (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    forwarded.on("error", () => response.destroy());
    response.on("close", () => forwarded.destroy());
    request.pipe(forwarded);
  });
  server.on("upgrade", (request, socket, head) => {
    const target = next();
    target.upgrades += 1;
    const other = connect(target.port, "127.0.0.1", () => {
      const lines = request.rawHeaders.map((it, at) => (at % 2 ? `${it}\r\n` : `${it}: `)).join("");
      other.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines}\r\n`);
      other.write(head);
      socket.pipe(other).pipe(socket);
    });
    for (const [one, two] of [
      [socket, other],
      [other, socket],
    ]) {
      sockets.add(one);
      one.setNoDelay(true);
      one.on("error", () => two.destroy());
      one.on("close", () => {
        sockets.delete(one);
        two.destroy();
      });
    }
  });
  server.keepAliveTimeout = 60_000;
  await new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    targets,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      sockets.forEach((socket) => socket.destroy());
      agent.destroy();
      await closed;
    },
  };
}
