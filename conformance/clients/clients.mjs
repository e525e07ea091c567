import { CHECKS, cells } from "./cells.mjs";
import { closeRuntimes, runtimes } from "./runtimes.mjs";

/** A browser on a busy machine needs longer for its heartbeat than the protocol suites allow. */
export const SERVER_ARGS = ["--ping-timeout", "5000"];

/** Enough for two cores. */
const AT_ONCE = 2;

/** Runs the cells whose name contains one of `only` (all without) against the server at `url`. */
export async function runClients({ report, url, only = [] }) {
  const chosen = cells.filter(({ name }) => !only.length || only.some((part) => name.includes(part)));
  if (!chosen.length) {
    throw new Error(`no cell is called like ${only.join(" or ")}`);
  }
  const waiting = [...chosen];
  const results = new Map();
  const worker = async () => {
    for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
      results.set(cell, await runCell({ ...cell, url }, report));
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    await closeRuntimes();
  }
  return chosen.map((cell) => ({ cell, failed: results.get(cell) }));
}

/** Runs one cell and returns the checks that failed. */
async function runCell(cell, report) {
  const outcomes = new Map();
  const began = Date.now();
  let broken;
  try {
    await runtimes[cell.runtime](cell, ({ check, error }) => outcomes.set(check, { error }));
  } catch (error) {
    broken = error;
  }
  for (const check of CHECKS) {
    const { error } = outcomes.get(check) ?? { error: "did not run" };
    if (error) {
      report.fail(`${cell.name} ${check}`, error);
    } else {
      report.pass(`${cell.name} ${check}`);
    }
  }
  const failed = CHECKS.filter((check) => !outcomes.has(check) || outcomes.get(check).error);
  // What belongs to no check: an exception in the client, traffic of another kind.
  if (broken) {
    report.fail(`${cell.name} run`, broken);
    failed.push("run");
  }
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  console.log(`${failed.length ? "FAILED " : "ok     "} ${report.suite}: ${cell.name} in ${seconds} s`);
  return failed;
}
