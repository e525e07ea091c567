import { spawn } from "node:child_process";
import readline from "node:readline";

const running = new Set();

// Nothing that was started may outlive the run, however the run ends.
process.on("exit", () => running.forEach((child) => signalGroup(child, "SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => process.exit(1));
}

/** A program runs in a group of its own, so that what it starts itself ends with it. */
function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended.
  }
}

/**
 * Starts a program and hands its lines of output to `onLine`. `done` resolves when it has ended and
 * all of its output was read, with the exit code, the signal and the last lines of its stderr.
 */
export function start(command, args, { onLine = () => {}, ...options } = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...options });
  if (child.pid) {
    running.add(child);
  }
  const errors = [];
  const lines = readline.createInterface({ input: child.stdout });
  lines.on("line", onLine);
  readline.createInterface({ input: child.stderr }).on("line", (line) => {
    errors.push(line);
    if (errors.length > 40) {
      errors.shift();
    }
  });
  const read = new Promise((resolve) => lines.on("close", resolve));
  const done = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", async (code, signal) => {
      running.delete(child);
      await read;
      resolve({ code, signal, stderr: errors.join("\n") });
    });
  });
  // Whoever cares awaits `done`; who does not must not bring the run down.
  done.catch(() => {});
  return { kill: (signal) => child.pid && signalGroup(child, signal), done, stdin: child.stdin, pid: child.pid };
}

/** Runs a program to its end, within `ms`. */
export async function run(command, args, { ms = 600_000, ...options } = {}) {
  const stdout = [];
  const { kill, done } = start(command, args, { onLine: (line) => stdout.push(line), ...options });
  const timer = setTimeout(() => kill("SIGKILL"), ms);
  try {
    return { ...(await done), stdout: stdout.join("\n") };
  } finally {
    clearTimeout(timer);
  }
}
