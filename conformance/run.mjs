// Runs the conformance tests; see README.md.
import { parseArgs } from "node:util";
import { runBrowser } from "./browser/chat.mjs";
import { runClients, withServers } from "./clients/clients.mjs";
import { markdown, writeTable } from "./clients/matrix.mjs";
import { Report, summarize } from "./lib/report.mjs";
import { binaries, withServer } from "./lib/server.mjs";
import { runSuite, suiteNames } from "./suites/suites.mjs";

const USAGE = `usage: conformance/run [SUITE…] [OPTIONS]

suites: ${[...suiteNames, "clients", "browser"].join(", ")}; all without

  --suites DIR   the official suites, laid out as docs/ of github.com/socketio/socket.io
                 [env: SOCKETIO_SUITES] [default: a clone of the pinned commit]
  --url URL      a conformance server that runs already (for all suites but browser)
  --repeat N     runs everything N times in a row
  --only PART    of the clients, only the cells whose name contains PART; may be given again
  --table FILE   puts the clients' results between the markers in FILE; may be given again`;

const OPTIONS = {
  suites: { type: "string" },
  url: { type: "string" },
  repeat: { type: "string", default: "1" },
  only: { type: "string", multiple: true },
  table: { type: "string", multiple: true, default: [] },
  help: { type: "boolean", short: "h" },
};

function read() {
  try {
    const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
    const all = [...suiteNames, "clients", "browser"];
    const unknown = positionals.filter((name) => !all.includes(name));
    if (unknown.length) {
      throw new Error(`no suite is called ${unknown.join(", ")}`);
    }
    if (!(Number(values.repeat) >= 1)) {
      throw new Error("--repeat wants a number");
    }
    if (values.only && values.table.length) {
      throw new Error("--table wants all cells");
    }
    return { ...values, repeat: Number(values.repeat), chosen: positionals.length ? positionals : all };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}

async function runOnce(name, report, options, built) {
  if (name === "browser") {
    return runBrowser({ report, binary: built["chat-server"] });
  }
  const { url, only, suites } = options;
  const server = built["conformance-server"];
  if (name !== "clients") {
    const run = (url) => runSuite(name, { report, url, suites });
    return url ? run(url) : withServer(server, [], run);
  }
  const run = (urls) => runClients({ report, urls, only });
  const results = await (url ? run({ default: url }) : withServers(server, run));
  const table = markdown(results);
  console.log(`\n${table}\n`);
  options.table.forEach((file) => writeTable(file, table));
}

const options = read();
if (options.help) {
  console.log(USAGE);
  process.exit();
}
const needed = new Set(
  options.chosen.map((name) => (name === "browser" ? "chat-server" : "conformance-server")),
);
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
