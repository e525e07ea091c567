// `timeout`, `retries`, and acknowledgements that the server asks for.
import { sleep } from "../lib/time.mjs";
import { ask, assert, assertSame, collect, connected, range, unique } from "./clients.mjs";

const rejection = (promise) =>
  promise.then(
    (value) => assert(false, `an answer instead of an error: ${JSON.stringify(value)}`),
    (error) => error.message,
  );

export const acks = {
  async "an answer that comes in time"(clients) {
    const socket = await clients.connect();
    assertSame(await socket.timeout(2_000).emitWithAck("echo", [1, "é"]), [1, "é"], "answer");
    await socket.timeout(2_000).emitWithAck("sleep", 50);
  },

  async "no answer, and one that comes late"(clients) {
    const socket = await clients.connect();
    const never = socket.timeout(50).emitWithAck("note", unique(), 1, 0);
    const late = socket.timeout(50).emitWithAck("sleep", 150);
    assertSame(await rejection(never), "operation has timed out", "error");
    assertSame(await rejection(late), "operation has timed out", "error");
    await sleep(150);
    assertSame(await ask(socket, "echo", "after"), "after", "answer");
  },

  async "answers do not wait for each other"(clients) {
    const socket = await clients.connect();
    const order = [];
    const slow = ask(socket, "sleep", 100).then(() => order.push("slow"));
    const quick = ask(socket, "echo", 1).then(() => order.push("quick"));
    await Promise.all([slow, quick]);
    assertSame(order, ["quick", "slow"], "order");
  },

  async "the server asks"(clients) {
    const socket = await clients.connect();
    socket.on("question", (value, answer) => answer({ back: value }));
    assertSame(await ask(socket, "ask", 2_000, "é"), { back: "é" }, "answer");
  },

  async "the server asks in vain"(clients) {
    const socket = await clients.connect();
    let answer;
    socket.on("question", (_, give) => (answer = give));
    assertSame(await ask(socket, "ask", 50, 1), { error: "operation has timed out" }, "answer");
    answer("too late");
    assertSame(await ask(socket, "echo", "after"), "after", "answer");
  },

  async "retries until there is an answer"(clients) {
    const book = unique();
    const socket = await clients.connect("/features", { retries: 10, ackTimeout: 200 });
    const answers = range(2).map((n) => socket.emitWithAck("note", book, n, 3));
    for (const times of await Promise.all(answers)) {
      assert(times >= 3, `answered after ${times} attempts`);
    }
    // One event at a time: the next one leaves when this one is answered.
    const notes = await socket.timeout(5_000).emitWithAck("notes", book);
    assertSame([...new Set(notes)], [0, 1], "order");
    assertSame(notes, [...notes].sort(), "order with the attempts");
  },

  async "retries in vain"(clients) {
    const book = unique();
    const socket = await clients.connect("/features", { retries: 2, ackTimeout: 50 });
    assertSame(await rejection(socket.emitWithAck("note", book, 0, 0)), "operation has timed out", "error");
    const notes = await socket.timeout(5_000).emitWithAck("notes", book);
    assertSame(notes, [0, 0, 0], "attempts");
  },

  async "retries keep the order when the connection breaks"(clients) {
    const book = unique();
    const socket = await clients.connect("/features", { retries: 10, ackTimeout: 500 });
    const answers = range(30).map((n) => socket.emitWithAck("note", book, n, 1));
    const breaks = collect(socket.io, "reconnect");
    for (const n of [5, 15]) {
      await answers[n];
      socket.io.engine.close();
    }
    await Promise.all(answers);
    await connected(socket);
    assertSame(breaks.length, 2, "breaks");
    const notes = await socket.timeout(5_000).emitWithAck("notes", book);
    assertSame([...new Set(notes)], range(30), "order");
  },
};
