// How a cell is run in each runtime. Each function resolves when the cell has ended; outcomes are
// handed to `report` as they come, so that those of a cell that hangs are not lost.
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { launchChromium, loadPage, newContext } from "../lib/chromium.mjs";
import { npmPackage, venvPython } from "../lib/paths.mjs";
import { start } from "../lib/process.mjs";
import { within } from "../lib/time.mjs";

const here = path.dirname(fileURLToPath(import.meta.url));
const CELL_LIMIT = 120_000;

/** What both sides of a cell need to know. */
const description = ({ url, version, options, transports, namespaceAuth, oldBuffers, parser }) => ({
  url,
  version,
  options,
  transports,
  namespaceAuth,
  oldBuffers,
  parser,
});

async function inProcess(command, args, cell, report) {
  const errors = [];
  const { kill, done } = start(command, [...args, JSON.stringify(description(cell))], {
    env: { ...process.env, NODE_NO_WARNINGS: "1", PYTHONUNBUFFERED: "1" },
    onLine(line) {
      const result = parse(line);
      if (result.check) {
        report(result);
      } else {
        errors.push(result.uncaught ?? line);
      }
    },
  });
  try {
    const { code, signal, stderr } = await within(CELL_LIMIT, "the whole cell", done);
    if (code !== 0) {
      errors.push(`ended with ${code ?? signal}: ${stderr}`);
    }
  } finally {
    kill("SIGKILL");
  }
  if (errors.length) {
    throw new Error(errors.join("\n"));
  }
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return {};
  }
}

const node = (cell, report) => inProcess(process.execPath, [path.join(here, "node-cell.mjs")], cell, report);

const python = (cell, report) =>
  inProcess(venvPython(cell.version), [path.join(here, "python", "checks.py")], cell, report);

let browser;

async function chromium(cell, report) {
  browser ??= launchChromium();
  const context = await newContext(await browser);
  try {
    await within(CELL_LIMIT, "the whole cell", inPage(await context.newPage(), cell, report));
  } finally {
    await context.close();
  }
}

async function inPage(page, cell, report) {
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.stack ?? error.message));
  const traffic = watchTraffic(page);
  await loadPage(page, ...pageOf(cell));
  await page.addScriptTag({ path: path.join(npmPackage(`sio-${cell.version}`), cell.bundle) });
  await page.addScriptTag({ path: path.join(here, "checks.js") });
  await page.exposeFunction("reportCheck", report);
  const samples = JSON.parse(readFileSync(path.join(here, "samples.json"), "utf8"));
  await page.evaluate(
    (env) =>
      globalThis.runClientChecks({
        ...env,
        io: globalThis.io,
        makeBinary: (bytes) => Uint8Array.from(bytes).buffer,
        makeBlob: env.parser ? null : (bytes) => new Blob([bytes]),
        report: globalThis.reportCheck,
      }),
    { ...description(cell), samples },
  );
  errors.push(...strayTraffic(cell, traffic));
  if (errors.length) {
    throw new Error(errors.join("\n"));
  }
}

/** A blank page of the server's origin, or of another one that the browser keeps apart. */
function pageOf(cell) {
  const address = new URL("/blank", cell.url);
  if (cell.way === "cross-origin") {
    address.hostname = address.hostname === "localhost" ? "127.0.0.1" : "localhost";
  }
  const blank = { contentType: "text/html; charset=utf-8", body: "<!DOCTYPE html><title>blank</title>" };
  return [address.href, { [address.href]: blank }];
}

function watchTraffic(page) {
  const traffic = { requests: [], sockets: 0 };
  page.on("request", (request) => {
    const { pathname, searchParams } = new URL(request.url());
    if (pathname.startsWith("/socket.io/")) {
      traffic.requests.push(searchParams);
    }
  });
  page.on("websocket", () => (traffic.sockets += 1));
  return traffic;
}

/** What went over the network in another way than the cell is about. */
function strayTraffic({ way }, { requests, sockets }) {
  const expected = {
    polling: (query) => !query.has("j") && !query.has("b64"),
    websocket: () => false,
    upgrade: (query) => !query.has("j") && !query.has("b64"),
    jsonp: (query) => query.has("j"),
    // Only the handshake has to say it.
    base64: (query) => !query.has("j") && (query.has("b64") || query.has("sid")),
    "cross-origin": (query) => !query.has("j") && !query.has("b64"),
  }[way];
  const strays = requests
    .filter((query) => !expected(query))
    .map((query) => `request of another kind: ${query}`);
  const wants = {
    polls: way !== "websocket",
    sockets: ["websocket", "upgrade", "cross-origin"].includes(way),
  };
  if (wants.polls !== requests.length > 0) {
    strays.push(`${requests.length} polling requests`);
  }
  if (wants.sockets !== sockets > 0) {
    strays.push(`${sockets} WebSockets`);
  }
  return strays.slice(0, 5);
}

export const runtimes = { node, python, chromium };

export async function closeRuntimes() {
  const opened = browser;
  // Another suite launches its own.
  browser = undefined;
  await (await opened)?.close();
}
