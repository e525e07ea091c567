// The official protocol suites. They are run as they are, but for the address of the server, which is
// replaced in a copy: port 3000 may be taken.
import { cpSync, readdirSync } from "node:fs";
import path from "node:path";
import { emptyFolder, installPackages, replaceAddress, runMocha } from "./mocha.mjs";
import { HOW_TO_GET, suitesFolder } from "./source.mjs";

const FOLDERS = {
  "engine.io-v3": "engine.io-protocol/v3-test-suite",
  "engine.io-v4": "engine.io-protocol/v4-test-suite",
  "socket.io-v5": "socket.io-protocol/v5-test-suite",
};

export const suiteNames = Object.keys(FOLDERS);

const ADDRESS = "localhost:3000";

/** Runs one suite against the server at `url` and hands every case to `report`. */
export async function runSuite(name, { report, url, suites }) {
  let source;
  try {
    source = path.join(await suitesFolder(suites), FOLDERS[name]);
    readdirSync(source);
  } catch (error) {
    report.skip(`suite not reachable (${error.message}; to get it, ${HOW_TO_GET})`);
    return;
  }
  const cwd = await prepare(name, source, url);
  await runMocha(["npm", "test", "--silent", "--"], { cwd, report });
}

/** Copies a suite, with the server's address in it and its packages installed. */
async function prepare(name, source, url) {
  const copy = emptyFolder(name);
  cpSync(source, copy, { recursive: true, filter: (file) => path.basename(file) !== "node_modules" });
  await installPackages(copy);
  replaceAddress(path.join(copy, "test-suite.js"), ADDRESS, url);
  return copy;
}
