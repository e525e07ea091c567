import { withServer } from "../lib/server.mjs";
import { cells, checksOf } from "./cells.mjs";
import { closeRuntimes, runtimes } from "./runtimes.mjs";

/** A browser on a busy machine needs longer for its heartbeat than the protocol suites allow. */
export const SERVER_ARGS = ["--ping-timeout", "5000"];

/** Enough for two cores. */
const AT_ONCE = 2;

/** Runs `body` with the addresses of servers by parser. */
export const withServers = (binary, body) =>
  withServer(binary, SERVER_ARGS, (url) =>
    withServer(binary, [...SERVER_ARGS, "--parser", "msgpack"], (msgpack) => body({ default: url, msgpack })),
  );

/**
 * Runs the cells whose name contains one of `only` (all without) against the servers at `urls`, an
 * address for each parser.
 */
export async function runClients({ report, urls, only = [] }) {
  const chosen = cells.filter(({ name }) => !only.length || only.some((part) => name.includes(part)));
  if (!chosen.length) {
    throw new Error(`no cell is called like ${only.join(" or ")}`);
  }
  return runCells({ report, cells: chosen, urls });
}

/** Runs these cells. */
export async function runCells({ report, cells: chosen, urls }) {
  const waiting = [...chosen];
  const results = new Map();
  const worker = async () => {
    for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
      const url = urls[cell.parser ?? "default"];
      results.set(cell, url ? await runCell({ ...cell, url }, report) : skipCell(cell, report));
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    await closeRuntimes();
  }
  return chosen.map((cell) => ({ cell, failed: results.get(cell) }));
}

function skipCell(cell, report) {
  const reason = `there is no server with the parser ${cell.parser}`;
  checksOf(cell).forEach((check) => report.skip(`${cell.name} ${check}`, reason));
  return ["skipped"];
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
  const checks = checksOf(cell);
  for (const check of checks) {
    const { error } = outcomes.get(check) ?? { error: "did not run" };
    if (error) {
      report.fail(`${cell.name} ${check}`, error);
    } else {
      report.pass(`${cell.name} ${check}`);
    }
  }
  const failed = checks.filter((check) => !outcomes.has(check) || outcomes.get(check).error);
  // What belongs to no check: an exception in the client, traffic of another kind.
  if (broken) {
    report.fail(`${cell.name} run`, broken);
    failed.push("run");
  }
  const seconds = ((Date.now() - began) / 1000).toFixed(1);
  console.log(`${failed.length ? "FAILED " : "ok     "} ${report.suite}: ${cell.name} in ${seconds} s`);
  return failed;
}
