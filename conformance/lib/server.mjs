import { spawn } from "node:child_process";
import readline from "node:readline";
import { workspace } from "./paths.mjs";
import { start } from "./process.mjs";
import { until, within } from "./time.mjs";

const OVERRIDES = {
  "conformance-server": "CONFORMANCE_SERVER_BIN",
  differential: "DIFFERENTIAL_BIN",
  "client-suite-server": "CLIENT_SUITE_SERVER_BIN",
  "cluster-server": "CLUSTER_SERVER_BIN",
  "chat-server": "CHAT_SERVER_BIN",
};

/** Paths of the server binaries of this workspace by name, built unless the environment names them. */
export async function binaries(names) {
  const found = {};
  for (const name of names) {
    found[name] = process.env[OVERRIDES[name]];
  }
  const missing = names.filter((name) => !found[name]);
  return missing.length ? { ...found, ...(await build(missing)) } : found;
}

async function build(packages) {
  const args = ["build", "--locked", "--release", "--message-format=json-render-diagnostics"];
  const cargo = spawn("cargo", [...args, ...packages.flatMap((name) => ["-p", name])], {
    cwd: workspace,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const built = {};
  const ended = new Promise((resolve, reject) => {
    cargo.on("error", reject);
    cargo.on("close", resolve);
  });
  for await (const line of readline.createInterface({ input: cargo.stdout })) {
    const message = JSON.parse(line);
    if (message.executable) {
      built[message.target.name] = message.executable;
    }
  }
  const code = await ended;
  if (code !== 0) {
    throw new Error(`cargo build ended with ${code}`);
  }
  return built;
}

/** Starts a server binary on a free port and waits until it listens. */
export async function startServer(binary, args = []) {
  const lines = [];
  const { kill, done, pid } = start(binary, ["--port", "0", ...args], { onLine: (line) => lines.push(line) });
  let ended;
  done.then(
    (end) => (ended = end),
    (error) => (ended = { stderr: error.message }),
  );
  const listening = await until(20_000, `${binary} says that it listens`, () => {
    if (ended) {
      throw new Error(`${binary} did not start (code ${ended.code}): ${ended.stderr}`);
    }
    return lines.map((line) => /^listening on .*:(\d+)$/.exec(line)).find(Boolean);
  });
  const port = Number(listening[1]);
  return {
    port,
    pid,
    url: `http://127.0.0.1:${port}`,
    lines,
    /** Ends it at once. */
    kill: () => kill("SIGKILL"),
    /** Asks it to end, as a service manager does. Resolves with how it ended. */
    async stop(ms = 5_000) {
      kill("SIGTERM");
      let end;
      try {
        end = await within(ms, `${binary} ends after SIGTERM`, done);
      } catch (error) {
        kill("SIGKILL");
        throw error;
      }
      // One that only took a task with it would show nowhere else.
      if (end.stderr.includes("panicked at")) {
        throw new Error(`${binary} panicked: ${end.stderr}`);
      }
      return end;
    },
  };
}

/** Runs `body` with the address of a server of its own, which must end well. */
export async function withServer(binary, args, body) {
  const server = await startServer(binary, args);
  try {
    return await body(server.url);
  } finally {
    await server.stop();
  }
}
