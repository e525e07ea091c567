// Features of the newest client, each over every transport; see README.md.
import { withServer } from "../lib/server.mjs";
import { within } from "../lib/time.mjs";
import { acks } from "./acks.mjs";
import { Clients } from "./clients.mjs";
import { multiplexing } from "./multiplexing.mjs";
import { volatile } from "./volatile.mjs";

const FEATURES = { acks, multiplexing, volatile };

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
    await withServer(binary, [], async (url) => {
      for (const [feature, checks] of Object.entries(FEATURES)) {
        for (const [name, check] of Object.entries(checks)) {
          await report.run(`${feature}: ${name} (${way})`, () => runCheck(check, url, transports));
        }
      }
    });
  }
}

async function runCheck(check, url, transports) {
  const clients = new Clients(url, transports);
  try {
    await within(CHECK_LIMIT, "the whole check", check(clients));
  } finally {
    clients.close();
  }
}
