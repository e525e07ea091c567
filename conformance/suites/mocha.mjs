import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { cache } from "../lib/paths.mjs";
import { run } from "../lib/process.mjs";

/** The folder that a suite runs in, empty but for the packages of an earlier run. */
export function emptyFolder(name) {
  const folder = path.join(cache, "run", name);
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(folder).filter((it) => it !== "node_modules")) {
    rmSync(path.join(folder, file), { recursive: true });
  }
  return folder;
}

/** Installs what the lock file in `folder` names, unless it is there. */
export async function installPackages(folder) {
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

/** Puts the server's address in the place of the suite's own. */
export function replaceAddress(file, address, url) {
  const text = readFileSync(file, "utf8");
  if (!text.includes(address)) {
    throw new Error(`${file} does not name ${address}: is this the suite that it should be?`);
  }
  writeFileSync(file, text.replaceAll(address, new URL(url).host));
}

/**
 * Runs mocha by `command`, to which its settings are added, once for each list of further arguments in
 * `runs`, and hands every case to `report`.
 *
 * `expected` has a reason for each case that cannot pass: it counts as skipped, and as failed if it
 * passes all the same. If a few others fail everything is run again, up to `attempts` times in all.
 */
export async function runMocha(command, { cwd, report, runs = [[]], expected = {}, attempts = 1 }) {
  const unseen = new Set(Object.keys(expected));
  for (const args of runs) {
    const runSuite = () => runOnce([...command, ...args], cwd);
    const first = await runSuite();
    const again = await runAgain(runSuite, unexpected(first, expected), attempts);
    for (const test of first.tests) {
      unseen.delete(test.fullTitle);
      reportCase(test, first, expected[test.fullTitle], again, report);
    }
    // A hook that fails is in no test's place.
    const known = new Set(first.tests.map((test) => test.fullTitle));
    for (const { fullTitle, err } of first.failures.filter((it) => !known.has(it.fullTitle))) {
      report.fail(fullTitle, err.message ?? "failed");
    }
    if (first.code !== 0 && !first.failed.size) {
      report.fail("the suite ends well", first.end);
    }
    if (!first.tests.length) {
      report.fail("the suite has tests", "none ran");
    }
  }
  unseen.forEach((title) => report.fail(title, "no case is called so, but there is a reason why it fails"));
}

function reportCase({ fullTitle, err }, { failed, skipped }, reason, again, report) {
  if (skipped.has(fullTitle)) {
    report.skip(fullTitle, "switched off in the suite itself");
  } else if (!failed.has(fullTitle)) {
    reason ? report.fail(fullTitle, `it passes, although ${reason}`) : report.pass(fullTitle);
  } else if (reason) {
    report.skip(fullTitle, reason);
  } else if (again.has(fullTitle)) {
    report.pass(fullTitle, `at attempt ${again.get(fullTitle)}`);
  } else {
    report.fail(fullTitle, err.message ?? "failed");
  }
}

const unexpected = ({ failed }, expected) => [...failed].filter((title) => !expected[title]);

/** Where more cases fail it is not because the machine is slow. */
const FEW = 5;

/** Tries what has failed again. Returns which cases passed at which attempt. */
async function runAgain(runSuite, failed, attempts) {
  const passed = new Map();
  let left = failed.length <= FEW ? failed : [];
  for (let attempt = 2; attempt <= attempts && left.length; attempt += 1) {
    const next = await runSuite();
    const ran = new Set(next.tests.map((test) => test.fullTitle));
    left.filter((it) => ran.has(it) && !next.failed.has(it)).forEach((it) => passed.set(it, attempt));
    left = left.filter((it) => !passed.has(it));
  }
  return passed;
}

async function runOnce([command, ...args], cwd) {
  const output = path.join(cwd, "results.json");
  rmSync(output, { force: true });
  // A connection that the server leaves open must not keep the finished suite from ending.
  const settings = ["--exit", "--reporter=json", `--reporter-option=output=${output}`];
  const { code, signal, stderr } = await run(command, [...args, ...settings], { cwd, ms: 300_000 });
  const end = `mocha ended with ${code ?? signal}: ${stderr}`;
  if (!existsSync(output)) {
    throw new Error(`no results; ${end}`);
  }
  const { tests, failures, pending } = JSON.parse(readFileSync(output, "utf8"));
  const titles = (list) => new Set(list.map((test) => test.fullTitle));
  return { code, end, tests, failures, failed: titles(failures), skipped: titles(pending) };
}
