// One cell of a client in Node.js, in a process of its own: what a client leaves behind when it
// fails cannot touch another cell.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import "./checks.js";

const cell = JSON.parse(process.argv[2]);
const samples = JSON.parse(readFileSync(new URL("samples.json", import.meta.url), "utf8"));
const say = (result) => process.stdout.write(`${JSON.stringify(result)}\n`);

process.on("uncaughtException", (error) => {
  say({ uncaught: error.stack });
  process.exitCode = 1;
});

// Clients 1.0 to 1.3 take whatever has a `buffer` for a typed array, because the Buffer of their time had
// none; with today's they send zeros.
function makeOldBuffer(bytes) {
  return Object.defineProperty(Buffer.from(bytes), "buffer", { value: undefined });
}

const require = createRequire(import.meta.url);
const parser = cell.parser && require(`socket.io-${cell.parser}-parser`);

await globalThis.runClientChecks({
  ...cell,
  options: { ...cell.options, parser },
  samples,
  io: require(`sio-${cell.version}`),
  makeBinary: cell.oldBuffers ? makeOldBuffer : (bytes) => Buffer.from(bytes),
  report: say,
});
// Some generations keep timers that hold the process.
process.exit();
