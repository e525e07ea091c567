// Runs the conformance tests; see README.md.
import { parseArgs } from "node:util";
import { runBrowser } from "./browser/chat.mjs";
import { runClients, withServers } from "./clients/clients.mjs";
import { markdown, writeTable } from "./clients/matrix.mjs";
import { runAtRequest } from "./cluster/at-request.mjs";
import { runCluster } from "./cluster/cluster.mjs";
import { runFaults } from "./cluster/faults.mjs";
import { runNginx } from "./cluster/nginx.mjs";
import { runDifferential } from "./differential/differential.mjs";
import { runFeatures } from "./features/features.mjs";
import { Report, summarize } from "./lib/report.mjs";
import { binaries, withServer } from "./lib/server.mjs";
import { runRelay } from "./relay/relay.mjs";
import { runClientSuite } from "./suites/client.mjs";
import { runSuite, suiteNames } from "./suites/suites.mjs";

const names = [
  ...suiteNames,
  "differential",
  "client-suite",
  "clients",
  "features",
  "relay",
  "cluster",
  "faults",
  "at-request",
  "nginx",
  "browser",
];

/** The server of every suite that has one of its own, or the program. */
const SERVERS = {
  differential: "differential",
  "client-suite": "client-suite-server",
  features: "client-suite-server",
  cluster: "cluster-server",
  faults: "cluster-server",
  "at-request": "cluster-server",
  nginx: "cluster-server",
  browser: "chat-server",
};

const serverOf = (name) => SERVERS[name] ?? "conformance-server";

const USAGE = `usage: conformance/run [SUITE…] [OPTIONS]

suites: ${names.join(", ")}; all without

  --suites DIR   the official suites: docs/ of github.com/socketio/socket.io, with packages/ beside it
                 for client-suite
                 [env: SOCKETIO_SUITES] [default: a clone of the pinned commit]
  --adapter-script DIR  the script of socketioxide for at-request: its folder e2e/adapter
                 [env: SOCKETIOXIDE_ADAPTER_SCRIPT] [default: without it]
  --url URL      a conformance server that runs already (not for differential, client-suite, features, relay, cluster, faults,
                 at-request, nginx, browser)
  --repeat N     runs everything N times in a row
  --only PART    of the clients, only the cells whose name contains PART; may be given again
  --table FILE   puts the clients' results between the markers in FILE; may be given again`;

const OPTIONS = {
  suites: { type: "string" },
  "adapter-script": { type: "string" },
  url: { type: "string" },
  repeat: { type: "string", default: "1" },
  only: { type: "string", multiple: true },
  table: { type: "string", multiple: true, default: [] },
  help: { type: "boolean", short: "h" },
};

function read() {
  try {
    const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
    const unknown = positionals.filter((name) => !names.includes(name));
    if (unknown.length) {
      throw new Error(`no suite is called ${unknown.join(", ")}`);
    }
    if (!(Number(values.repeat) >= 1)) {
      throw new Error("--repeat wants a number");
    }
    if (values.only && values.table.length) {
      throw new Error("--table wants all cells");
    }
    return { ...values, repeat: Number(values.repeat), chosen: positionals.length ? positionals : names };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}

async function runOnce(name, report, options, built) {
  const binary = built[serverOf(name)];
  if (name === "browser") {
    return runBrowser({ report, binary });
  }
  if (name === "differential") {
    return runDifferential({ report, binary });
  }
  if (name === "features") {
    return runFeatures({ report, binary });
  }
  if (name === "relay") {
    return runRelay({ report, binary, only: options.only });
  }
  if (name === "cluster") {
    return runCluster({ report, binary });
  }
  if (name === "faults") {
    return runFaults({ report, binary });
  }
  if (name === "at-request") {
    return runAtRequest({ report, binary, script: options["adapter-script"] });
  }
  if (name === "nginx") {
    return runNginx({ report, binary });
  }
  if (name === "client-suite") {
    return withServer(binary, [], (url) => runClientSuite({ report, url, suites: options.suites }));
  }
  const { url, only, suites } = options;
  if (name !== "clients") {
    const run = (url) => runSuite(name, { report, url, suites });
    return url ? run(url) : withServer(binary, [], run);
  }
  const run = (urls) => runClients({ report, urls, only });
  const results = await (url ? run({ default: url }) : withServers(binary, run));
  const table = markdown(results);
  console.log(`\n${table}\n`);
  options.table.forEach((file) => writeTable(file, table));
}

const options = read();
if (options.help) {
  console.log(USAGE);
  process.exit();
}
const needed = new Set(options.chosen.map(serverOf));
if (options.url) {
  needed.delete("conformance-server");
}
const built = await binaries([...needed]);
const reports = [];
for (let round = 1; round <= options.repeat; round += 1) {
  for (const name of options.chosen) {
    const title = options.repeat > 1 ? `${name} (run ${round} of ${options.repeat})` : name;
    console.log(`\n== ${title}`);
    const report = new Report(title);
    reports.push(report);
    await runOnce(name, report, options, built).catch((error) => report.fail("the run", error));
  }
}
process.exitCode = summarize(reports);
