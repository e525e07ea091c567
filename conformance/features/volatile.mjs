// Events that may be lost.
import { sleep, until } from "../lib/time.mjs";
import { ask, assert, assertSame, collect, connected, next, range, unique } from "./clients.mjs";

export const volatile = {
  async "one arrives when the connection can take it"(clients) {
    const socket = await clients.connect();
    await until(5_000, "a volatile event that arrives", async () => {
      const heard = collect(socket, "counted");
      await settled(socket);
      socket.emit("count-volatile", 1);
      await next(socket, "counted-all");
      socket.off("counted");
      return heard.length === 1;
    });
  },

  async "many are lost, but none is reordered, and others are not lost"(clients) {
    const socket = await clients.connect();
    const heard = collect(socket, "counted");
    socket.emit("count-volatile", 500);
    await next(socket, "counted-all");
    const numbers = heard.map(([n]) => n);
    assert(numbers.length < 500, "none was lost");
    assertSame(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      "order",
    );
    socket.off("counted");
    const all = collect(socket, "counted");
    socket.emit("count", 500);
    await ask(socket, "echo", 1);
    assertSame(
      all.map(([n]) => n),
      range(500),
      "events that may not be lost",
    );
  },

  async "the client drops what it cannot send"(clients) {
    const book = unique();
    const socket = clients.socket("/features", { autoConnect: false });
    socket.volatile.emit("note", book, "before", 0);
    socket.emit("note", book, "kept", 0);
    socket.connect();
    await connected(socket);
    await until(5_000, "a volatile event that arrives", async () => {
      await settled(socket);
      socket.volatile.emit("note", book, "after", 0);
      return (await ask(socket, "notes", book)).includes("after");
    });
    const notes = await ask(socket, "notes", book);
    assertSame([...new Set(notes)], ["kept", "after"], "notes");
  },
};

/** Lets a poll be on its way again, and an upgrade come to its end. */
async function settled(socket) {
  await ask(socket, "echo", 1);
  await sleep(20);
}
