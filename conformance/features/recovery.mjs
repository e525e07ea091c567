// What a client gets back when its connection was lost for a moment.
import { sleep, until } from "../lib/time.mjs";
import {
  ask,
  assert,
  assertSame,
  collect,
  connected,
  next,
  overWebSocket,
  range,
  unique,
} from "./clients.mjs";

export const recovery = {
  async "what was missed arrives, in order and once"(clients) {
    const { socket, other, room, heard } = await listening(clients);
    await lose(socket);
    await ask(other, "say", room, "room");
    await ask(other, "say", unique(), "another room");
    await ask(other, "say", socket.heldId, "own", Buffer.from([1, 2]), { deep: Buffer.from([3]) });
    await ask(other, "shout", room, "all");
    await comeBack(socket);
    assert(socket.recovered, "not recovered");
    await ask(other, "say", room, "live");
    await ask(socket, "echo", 1);
    assertSame(
      heard.map((args) => args[1]),
      ["hello", "room", "own", "all", "live"],
      "events",
    );
    assertSame([...heard[2][2], ...heard[2][3].deep], [1, 2, 3], "bytes");
  },

  async "id, rooms and data are as before"(clients) {
    const { socket, room } = await listening(clients);
    assert(!socket.recovered, "recovered at first");
    assertSame(await ask(socket, "recovered"), false, "recovered, for the server");
    await ask(socket, "remember", "é");
    const before = await state(socket);
    assert(before.rooms.includes(room), `rooms: ${before.rooms}`);
    const session = await ask(socket, "session");
    await lose(socket);
    await comeBack(socket);
    assertSame(await ask(socket, "recovered"), true, "recovered, for the server");
    assertSame(await state(socket), before, "state");
    assert((await ask(socket, "session")) !== session, "the session is the same");
  },

  async "a stream of events over several breaks"(clients) {
    const { socket, other, room, heard } = await listening(clients);
    const said = (async () => {
      for (const n of range(120)) {
        other.emit("say", room, n);
        await sleep(3);
      }
      await ask(other, "echo", 1);
    })();
    for (const _ of range(3)) {
      await sleep(50);
      await lose(socket);
      await sleep(30);
      await comeBack(socket);
      assert(socket.recovered, "not recovered");
    }
    await said;
    await ask(socket, "echo", 1);
    assertSame(
      heard.slice(1).map((args) => args[1]),
      range(120),
      "events",
    );
  },

  "a connection that breaks without a word": overWebSocket(async (clients) => {
    const { socket, other, room, heard } = await listening(clients);
    await until(5_000, "the upgrade", () => socket.io.engine.transport.name === "websocket");
    await lose(socket, () => socket.io.engine.transport.ws.terminate());
    await ask(other, "say", room, "missed");
    await comeBack(socket);
    await ask(socket, "echo", 1);
    assert(socket.recovered, "not recovered");
    assertSame(heard.length, 2, "events");
  }),

  async "every namespace of a connection"(clients) {
    const { socket, other } = await listening(clients);
    const pairs = [
      [socket, other],
      [clients.beside(socket, "/features/a"), clients.beside(other, "/features/a")],
    ];
    await Promise.all(pairs.flat().map(connected));
    const heard = pairs.map(([mine]) => collect(mine, "said"));
    const say = (value) => Promise.all(pairs.map(([, theirs]) => ask(theirs, "shout", value, theirs.nsp)));
    await say("before");
    await until(5_000, "the first event", () => heard.every((events) => events.length === 1));
    await lose(socket);
    await say("missed");
    await Promise.all(pairs.map(([mine]) => comeBack(mine)));
    await Promise.all(pairs.map(([mine]) => ask(mine, "echo", 1)));
    pairs.forEach(([mine], index) => {
      assert(mine.recovered, `not recovered in ${mine.nsp}`);
      const found = heard[index].map(([value, nsp]) => [value, nsp]);
      assertSame(
        found,
        [
          ["before", mine.nsp],
          ["missed", mine.nsp],
        ],
        `events of ${mine.nsp}`,
      );
    });
  },

  async "who leaves begins anew"(clients) {
    const leave = [
      (socket) => socket.disconnect(),
      async (socket) => {
        socket.emit("kick");
        await next(socket, "disconnect");
      },
    ];
    for (const how of leave) {
      const { socket, other, room, heard } = await listening(clients);
      const id = socket.id;
      await how(socket);
      await ask(other, "say", room, "missed");
      await comeBack(socket);
      await assertNew(socket, id);
      assertSame(heard.length, 1, "events");
    }
  },

  async "who stays away for too long begins anew"(clients) {
    const { socket, other, room, heard } = await listening(clients.ofImpatientServer());
    const id = socket.id;
    await lose(socket);
    await ask(other, "say", room, "missed");
    await sleep(600);
    await comeBack(socket);
    await assertNew(socket, id);
    assertSame(heard.length, 1, "events");
  },

  async "who names another session or offset begins anew"(clients) {
    for (const forge of [{ _pid: "unknown" }, { _lastOffset: "unknown" }]) {
      const { socket, heard } = await listening(clients);
      const id = socket.id;
      await lose(socket);
      Object.assign(socket, forge);
      await comeBack(socket);
      await assertNew(socket, id);
      assertSame(heard.length, 1, "events");
    }
  },

  async "a middleware is not asked again"(clients) {
    const auth = { ticket: unique() };
    const socket = await clients.connect("/features/ticket", { auth });
    await ask(socket, "shout", "hello");
    await lose(socket);
    await comeBack(socket);
    assert(socket.recovered, "not recovered");
    await clients.connect("/features/ticket", { auth }).then(
      () => assert(false, "the ticket is good twice"),
      (error) => assertSame(error.message, "the ticket is used", "error"),
    );
  },

  async "volatile events are not kept"(clients) {
    const { socket, other, heard } = await listening(clients);
    await lose(socket);
    await ask(other, "shout-volatile", "lost");
    await ask(other, "shout", "kept");
    await comeBack(socket);
    await ask(socket, "echo", 1);
    assertSame(
      heard.slice(1).map(([value]) => value),
      ["kept"],
      "events",
    );
  },

  async "what the client sent meanwhile arrives"(clients) {
    const { socket } = await listening(clients);
    const book = unique();
    await lose(socket);
    range(5).forEach((n) => socket.emit("note", book, n, 0));
    await comeBack(socket);
    assertSame(await ask(socket, "notes", book), range(5), "notes");
  },
};

/** A client in a room that has heard a first event, without which it could not say what it missed. */
async function listening(clients) {
  const [socket, other] = await Promise.all([clients.connect(), clients.connect()]);
  const heard = collect(socket, "said");
  const room = unique();
  await ask(socket, "join", room);
  await ask(other, "say", room, "hello");
  await until(5_000, "the first event", () => heard.length === 1);
  return { socket, other, room, heard };
}

const state = async (socket) => ({
  id: socket.id,
  rooms: (await ask(socket, "rooms")).sort(),
  remembered: await ask(socket, "recall"),
});

/** Has the connection end, and stay so. */
async function lose(socket, end = () => socket.io.engine.close()) {
  socket.heldId = socket.id;
  socket.io.reconnection(false);
  const gone = next(socket, "disconnect");
  end();
  await gone;
}

async function comeBack(socket) {
  socket.connect();
  await connected(socket);
}

async function assertNew(socket, id) {
  assert(!socket.recovered, "recovered");
  assert(socket.id !== id, "the id is the same");
  assertSame(await ask(socket, "recovered"), false, "recovered, for the server");
  assertSame(await ask(socket, "rooms"), [socket.id], "rooms");
}
