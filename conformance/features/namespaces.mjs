// Namespaces that come to be when a client asks for them: `/dynamic-<number>`.
import { ask, assertSame, collect, connected, next } from "./clients.mjs";

let count = 0;

/** One that no other check has. */
const fresh = () => `/dynamic-${(count += 1)}`;

export const namespaces = {
  async "one that matches comes to be"(clients) {
    const socket = await clients.connect(fresh());
    assertSame(await ask(socket, "echo", "é"), "é", "answer");
  },

  async "one that does not match is invalid"(clients) {
    for (const name of ["/dynamic-x", "/dynamic-", "/dynamic-1/2", "/x/dynamic-1"]) {
      const [error] = await next(clients.socket(name), "connect_error");
      assertSame(error.message, "Invalid namespace", name);
    }
  },

  async "a middleware refuses"(clients) {
    const name = fresh();
    const [error] = await next(clients.socket(name, { auth: { refuse: true } }), "connect_error");
    assertSame(error.message, "refused", "error");
    assertSame(await ask(await clients.connect(name), "echo", 1), 1, "answer");
  },

  async "they are apart from each other"(clients) {
    const [one, two] = [fresh(), fresh()];
    const sockets = await Promise.all([one, one, two, "/features"].map((name) => clients.connect(name)));
    await Promise.all(sockets.map((socket) => ask(socket, "join", "room")));
    const heard = sockets.map((socket) => collect(socket, "said"));
    await ask(sockets[0], "say", "room", 1);
    await Promise.all(sockets.map((socket) => ask(socket, "echo", 1)));
    assertSame(
      heard.map((events) => events.length),
      [1, 1, 0, 0],
      "events",
    );
  },

  async "what is emitted at the parent reaches all of them"(clients) {
    const names = [fresh(), fresh(), "/features"];
    const sockets = await Promise.all(names.map((name) => clients.connect(name)));
    const heard = sockets.map((socket) => collect(socket, "said"));
    await ask(sockets[0], "shout-to-parent", names[0]);
    await Promise.all(sockets.map((socket) => ask(socket, "echo", 1)));
    assertSame(
      heard.map((events) => events.map(([value]) => value)),
      [[names[0]], [names[0]], []],
      "events",
    );
  },

  async "several on one connection"(clients) {
    const first = await clients.connect(fresh());
    const second = clients.beside(first, fresh());
    await connected(second);
    assertSame(await ask(second, "session"), await ask(first, "session"), "session");
    second.disconnect();
    assertSame(await ask(first, "echo", 1), 1, "answer");
  },
};
