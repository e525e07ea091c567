// Several namespaces on one connection.
import { ask, assert, assertSame, collect, connected, next, range } from "./clients.mjs";

const NAMES = ["/features", "/features/a", "/features/b"];

/** A client in three namespaces. */
async function three(clients) {
  const first = clients.socket(NAMES[0]);
  const sockets = [first, ...NAMES.slice(1).map((name) => clients.beside(first, name))];
  await Promise.all(sockets.map(connected));
  return sockets;
}

export const multiplexing = {
  async "namespaces share a connection"(clients) {
    const sockets = await three(clients);
    const sessions = await Promise.all(sockets.map((socket) => ask(socket, "session")));
    assertSame(new Set(sessions).size, 1, "sessions");
    assertSame(sessions[0], sockets[0].io.engine.id, "session");
    assertSame(new Set(sockets.map((it) => it.id)).size, 3, "ids");
  },

  async "forceNew and multiplex: false make connections of their own"(clients) {
    const options = [{ forceNew: false }, { forceNew: false }, { forceNew: true }, { multiplex: false }];
    const names = [...NAMES, NAMES[1]];
    const sockets = await Promise.all(
      names.map((name, index) => clients.connect(name, { forceNew: false, ...options[index] })),
    );
    const [one, same, ...others] = await Promise.all(sockets.map((socket) => ask(socket, "session")));
    assertSame(same, one, "session");
    assertSame(new Set([one, ...others]).size, 3, "sessions");
  },

  async "events do not mix and stay in order"(clients) {
    const sockets = await three(clients);
    const heard = sockets.map((socket) => collect(socket, "said"));
    for (const n of range(100)) {
      sockets.forEach((socket, index) =>
        socket.emit("say", socket.id, `${index}`, n, Buffer.from([index, n])),
      );
    }
    await Promise.all(sockets.map((socket) => ask(socket, "echo", 1)));
    heard.forEach((events, index) => {
      const found = events.map(([, who, n, bytes]) => [who, n, [...bytes]]);
      assertSame(
        found,
        range(100).map((n) => [`${index}`, n, [index, n]]),
        NAMES[index],
      );
    });
  },

  async "answers do not mix"(clients) {
    const sockets = await three(clients);
    const answers = range(20).flatMap((n) =>
      sockets.map(async (socket, index) => {
        assertSame(await ask(socket, "echo", `${index} ${n}`), `${index} ${n}`, "answer");
      }),
    );
    await Promise.all(answers);
  },

  async "a broadcast stays in its namespace"(clients) {
    const [one, other] = [await three(clients), await three(clients)];
    const heard = [...one, ...other].map((socket) => collect(socket, "said"));
    one[1].emit("shout", "to a");
    // Two connections have no order: only when this is answered has the other one been sent to.
    await ask(one[1], "echo", 1);
    await Promise.all([...one, ...other].map((socket) => ask(socket, "echo", 1)));
    assertSame(
      heard.map((events) => events.length),
      [0, 1, 0, 0, 1, 0],
      "events",
    );
  },

  async "one is left and joined again"(clients) {
    const [first, second, third] = await three(clients);
    const [session, id] = [await ask(first, "session"), second.id];
    second.disconnect();
    assertSame(await ask(first, "echo", 1), 1, "answer");
    second.connect();
    await connected(second);
    assert(second.id !== id, "the id is the same");
    assertSame(await ask(second, "session"), session, "session");
    assertSame(await ask(third, "echo", 1), 1, "answer");
  },

  async "the server closes one"(clients) {
    const [first, second, third] = await three(clients);
    const gone = next(second, "disconnect");
    second.emit("kick");
    assertSame((await gone)[0], "io server disconnect", "reason");
    assertSame(await ask(first, "echo", 1), 1, "answer");
    assertSame(await ask(third, "echo", 1), 1, "answer");
  },

  async "one that is refused"(clients) {
    const [first] = await three(clients);
    for (const [name, message] of [
      ["/features/shut", "nobody gets in"],
      ["/features/none", "Invalid namespace"],
    ]) {
      const [error] = await next(clients.beside(first, name), "connect_error");
      assertSame(error.message, message, "error");
    }
    assertSame(await ask(first, "echo", 1), 1, "answer");
  },

  async "all come back after the connection broke"(clients) {
    const sockets = await three(clients);
    const session = await ask(sockets[0], "session");
    const back = sockets.map((socket) => next(socket, "connect"));
    sockets[0].io.engine.close();
    await Promise.all(back);
    const sessions = await Promise.all(sockets.map((socket) => ask(socket, "session")));
    assertSame(new Set(sessions).size, 1, "sessions");
    assert(sessions[0] !== session, "the session is the same");
  },
};
