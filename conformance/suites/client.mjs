// The official JavaScript client's own tests, against a server that plays the part of their
// `test/support/server.ts`. They are run as they are, beside the published client, but for the address
// of the server, which is replaced in a copy.
import { cpSync, readFileSync } from "node:fs";
import path from "node:path";
import { conformance } from "../lib/paths.mjs";
import { emptyFolder, installPackages, replaceAddress, runMocha } from "./mocha.mjs";
import { HOW_TO_GET, clientTestsFolder } from "./source.mjs";

const here = path.join(conformance, "suites");

const ADDRESS = "localhost:3210";

const ADDRESSED = [
  "support/util.ts",
  "fixtures/unref.ts",
  "fixtures/unref-polling-only.ts",
  "fixtures/unref-websocket-only.ts",
];

// These tests stop the clock and hope that a connection to port 80 is not refused before they have wound
// it forward. Where it is, all tests behind them have the stopped clock. A process that has made no
// connection yet is slow enough.
const ALONE = ["--fgrep", "reconnect timeout"];

// Some have to be done within 50 ms, connection and all, which no server can promise on a busy machine.
const ATTEMPTS = 3;

/** Runs the tests against the server at `url` and hands every case to `report`. */
export async function runClientSuite({ report, url, suites }) {
  let source;
  try {
    source = await clientTestsFolder(suites);
  } catch (error) {
    report.skip(`suite not reachable (${error.message}; to get it, ${HOW_TO_GET})`);
    return;
  }
  const cwd = await prepare(source, url);
  const expected = JSON.parse(readFileSync(path.join(here, "client-expected.json"), "utf8"));
  // What the client's own `npm test` runs, without the hooks that start the server.
  const mocha = path.join(cwd, "..", "node_modules", ".bin", "mocha");
  const command = [mocha, "--import=tsx", "test/index.ts"];
  const runs = [[...ALONE, "--invert"], ALONE];
  await runMocha(command, { cwd, report, expected, runs, attempts: ATTEMPTS });
}

/** Lays the published client and the tests out as they lie in the repository. */
async function prepare(source, url) {
  const folder = emptyFolder("client");
  cpSync(path.join(here, "client"), folder, { recursive: true });
  await installPackages(folder);
  const client = path.join(folder, "socket.io-client");
  cpSync(path.join(folder, "node_modules", "socket.io-client"), client, { recursive: true });
  cpSync(source, path.join(client, "test"), { recursive: true });
  ADDRESSED.forEach((file) => replaceAddress(path.join(client, "test", file), ADDRESS, url));
  return client;
}
