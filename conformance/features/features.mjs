// Features of the newest client, each over every transport; see README.md.
import { withServer } from "../lib/server.mjs";
import { within } from "../lib/time.mjs";
import { acks } from "./acks.mjs";
import { Clients } from "./clients.mjs";
import { multiplexing } from "./multiplexing.mjs";
import { namespaces } from "./namespaces.mjs";
import { recovery } from "./recovery.mjs";
import { volatile } from "./volatile.mjs";

const FEATURES = { acks, multiplexing, namespaces, recovery, volatile };

const WAYS = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

const CHECK_LIMIT = 15_000;

/** Runs every check and hands the outcomes to `report`. */
export async function runFeatures({ report, binary }) {
  for (const [way, transports] of Object.entries(WAYS)) {
    // One server per way: the client keeps connections by address, also those that are closed.
    await withServers(binary, async (urls) => {
      for (const [feature, checks] of Object.entries(FEATURES)) {
        for (const [name, check] of Object.entries(checks)) {
          if (check.needs && !transports.includes(check.needs)) {
            continue;
          }
          await report.run(`${feature}: ${name} (${way})`, () => runCheck(check, urls, transports));
        }
      }
    });
  }
}

/** Runs `body` with the addresses of a server and of one that keeps what it could recover only shortly. */
const withServers = (binary, body) =>
  withServer(binary, [], (patient) =>
    withServer(binary, ["--recovery-time", "200"], (impatient) => body({ patient, impatient })),
  );

async function runCheck(check, urls, transports) {
  const clients = new Clients(urls, transports);
  try {
    await within(CHECK_LIMIT, "the whole check", check(clients));
  } finally {
    clients.close();
  }
}
