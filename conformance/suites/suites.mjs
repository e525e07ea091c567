// The official protocol suites. They are run as they are, but for the address of the server, which is
// replaced in a copy: port 3000 may be taken.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { cache } from "../lib/paths.mjs";
import { run } from "../lib/process.mjs";
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
  await mocha(await prepare(name, source, url), report);
}

/** Copies a suite, with the server's address in it and its packages installed. */
async function prepare(name, source, url) {
  const copy = path.join(cache, "run", name);
  mkdirSync(copy, { recursive: true });
  for (const file of readdirSync(copy).filter((it) => it !== "node_modules")) {
    rmSync(path.join(copy, file), { recursive: true });
  }
  cpSync(source, copy, { recursive: true, filter: (file) => path.basename(file) !== "node_modules" });
  await installPackages(copy);

  const suite = path.join(copy, "test-suite.js");
  const text = readFileSync(suite, "utf8");
  if (!text.includes(ADDRESS)) {
    throw new Error(`${suite} does not name ${ADDRESS}: is this the suite that it should be?`);
  }
  writeFileSync(suite, text.replaceAll(ADDRESS, new URL(url).host));
  return copy;
}

async function installPackages(folder) {
  const modules = path.join(folder, "node_modules");
  const lock = readFileSync(path.join(folder, "package-lock.json"));
  const stamp = path.join(modules, ".stamp");
  const wanted = createHash("sha256").update(lock).digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
    return;
  }
  const { code, stderr } = await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
  });
  if (code !== 0) {
    throw new Error(`npm ci ended with ${code}: ${stderr}`);
  }
  writeFileSync(stamp, wanted);
}

async function mocha(folder, report) {
  const output = path.join(folder, "results.json");
  // A connection that the server leaves open must not keep the finished suite from ending.
  const settings = ["--exit", "--reporter=json", `--reporter-option=output=${output}`];
  const { code, signal, stderr } = await run("npm", ["test", "--silent", "--", ...settings], {
    cwd: folder,
    ms: 300_000,
  });
  if (!existsSync(output)) {
    throw new Error(`mocha ended with ${code ?? signal} and no results: ${stderr}`);
  }
  const { tests, failures, pending } = JSON.parse(readFileSync(output, "utf8"));
  const titles = (list) => new Set(list.map((test) => test.fullTitle));
  const [skipped, failed] = [titles(pending), titles(failures)];
  for (const test of tests) {
    if (skipped.has(test.fullTitle)) {
      report.skip(test.fullTitle, "switched off in the suite itself");
    } else if (failed.has(test.fullTitle)) {
      report.fail(test.fullTitle, test.err.message ?? "failed");
    } else {
      report.pass(test.fullTitle);
    }
  }
  // A hook that fails is in no test's place.
  if (code !== 0 && report.ok) {
    report.fail("the suite ends well", `mocha ended with ${code ?? signal}: ${stderr}`);
  }
  if (!tests.length) {
    report.fail("the suite has tests", "none ran");
  }
}
