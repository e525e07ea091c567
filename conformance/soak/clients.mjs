// Real clients of all generations come, talk, and leave, a few at a time: `node clients.mjs PORT`.
// Ends with its standard input; each line there is answered with what they have seen so far, and so is the end.
import { createRequire } from "node:module";
import readline from "node:readline";

const AT_ONCE = 4;
const LIMIT = 60_000;
const EVENTS = 20;

const VERSIONS = ["1.0.6", "1.3.5", "1.4.8", "1.7.4", "2.5.0", "3.1.3", "4.8.4"];
const WAYS = [["polling"], ["websocket"], ["polling", "websocket"]];
const ENDS = ["disconnect", "cut", "kick", "recover"];

const tally = { came: 0, recovered: 0, notRecovered: 0, checked: 0, lost: 0, duplicated: 0, reordered: 0, failed: 0 };

const require = createRequire(import.meta.url);
const url = `http://127.0.0.1:${process.argv[2]}/talk`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Events that are numbered without gaps. */
class Sequence {
  constructor(last) {
    this.last = last;
  }

  take(number) {
    tally.checked += 1;
    if (this.last === undefined || number === this.last + 1) {
      this.last = number;
    } else if (number > this.last) {
      this.expect(number - 1);
      this.last = number;
    } else {
      tally[number === this.last ? "duplicated" : "reordered"] += 1;
      console.error(`soak: ${number} came after ${this.last}`);
    }
  }

  /** All up to this number must have come by now. */
  expect(number) {
    if (this.last !== undefined && number > this.last) {
      console.error(`soak: ${this.last + 1} to ${number} did not come`);
      tally.lost += number - this.last;
      this.last = number;
    }
  }
}

async function within(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), LIMIT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const once = (socket, event) => new Promise((resolve) => socket.once(event, resolve));
const ask = (socket, ...args) =>
  within(args[0], new Promise((resolve) => socket.emit(...args, resolve)));

async function talk(socket, said, ticks) {
  const first = said.last + 1;
  for (let number = first; number < first + EVENTS; number += 1) {
    socket.emit("say", number, "é €");
  }
  const last = first + EVENTS - 1;
  if ((await ask(socket, "echo", last)) !== last) {
    throw new Error("another echo");
  }
  said.expect(last);
  ticks.expect(await ask(socket, "now"));
}

async function live(version, transports, end) {
  const io = require(`sio-${version}`);
  const recover = end === "recover";
  const socket = io(url, {
    forceNew: true,
    transports,
    reconnection: recover,
    reconnectionDelay: 500,
    timeout: LIMIT,
  });
  try {
    const said = new Sequence(0);
    const ticks = new Sequence();
    socket.on("said", (number) => said.take(number));
    socket.on("tick", (number) => ticks.take(number));
    await within("a connection", once(socket, "connect"));
    tally.came += 1;
    await talk(socket, said, ticks);
    await sleep(1_500 * Math.random());
    await talk(socket, said, ticks);
    if (recover) {
      const connected = once(socket, "connect");
      socket.io.engine.close();
      await within("a connection", connected);
      tally.came += 1;
      tally[socket.recovered ? "recovered" : "notRecovered"] += 1;
      await talk(socket, said, ticks);
    } else if (end === "kick") {
      const gone = once(socket, "disconnect");
      socket.emit("kick");
      await within("the end", gone);
    } else if (end === "cut") {
      socket.io.engine.close();
    }
  } finally {
    socket.io.reconnection(false);
    socket.disconnect();
    socket.io.engine.close();
  }
}

const lives = VERSIONS.flatMap((version) =>
  WAYS.flatMap((ways) =>
    // Only the newest can recover.
    ENDS.filter((end) => end !== "recover" || version === VERSIONS.at(-1)).map((end) => [version, ways, end]),
  ),
);

let leaving = false;
let next = 0;

async function worker() {
  while (!leaving) {
    const life = lives[next++ % lives.length];
    try {
      await live(...life);
    } catch (error) {
      tally.failed += 1;
      console.error(`soak: ${life.join(" ")}: ${error.message}`);
    }
  }
}

process.on("uncaughtException", (error) => {
  tally.failed += 1;
  console.error(`soak: ${error.stack}`);
});

const say = () => console.log(Object.values(tally).join(" "));
const input = readline.createInterface({ input: process.stdin });
input.on("line", say);
input.on("close", () => (leaving = true));
await Promise.all(Array.from({ length: AT_ONCE }, worker));
say();
// Some generations keep timers that hold the process.
process.exit();
