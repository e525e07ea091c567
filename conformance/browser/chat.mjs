// The chat of the tutorial as its user sees it: its page, with the scripts that it names, in two
// windows of a real browser.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { launchChromium, loadPage, newContext } from "../lib/chromium.mjs";
import { artifacts, npmPackage, workspace } from "../lib/paths.mjs";
import { startServer } from "../lib/server.mjs";
import { sleep, until, within } from "../lib/time.mjs";

const LIMIT = 10_000;

const script = (...file) => ({
  contentType: "application/javascript; charset=utf-8",
  // The page is of another origin than its scripts.
  headers: { "access-control-allow-origin": "*" },
  body: readFileSync(path.join(...file)),
});

const SCRIPTS = {
  "https://cdn.socket.io/socket.io-1.3.5.js": script(npmPackage("sio-1.3.5"), "socket.io.js"),
  "http://code.jquery.com/jquery-1.11.1.js": script(npmPackage("jquery"), "dist", "jquery.js"),
};

// Ways in which a browser may have to reach the server, as scripts that run before the page's own.
const WAYS = {
  websocket: { transport: "websocket", prepare: () => {} },
  polling: {
    transport: "polling",
    prepare: () => {
      delete window.WebSocket;
    },
  },
  jsonp: {
    transport: "polling",
    // The page calls io() without options; the bundle that defines it stays as it is.
    prepare: () => {
      let forced;
      Object.defineProperty(window, "io", {
        get: () => forced,
        set: (io) => (forced = () => io({ forceJSONP: true, transports: ["polling"] })),
      });
    },
  },
};

const MESSAGES = [
  "hello",
  '<b>x</b> & "q"',
  "<script>throw new Error('markup')</script>",
  "é € 汉字 ñ – “quoted”",
  "é",
  "😀 👩‍👩‍👧 🇪🇺",
  "back\\slash \\n and 'quotes' \u2028 line separator",
];

const BURST = Array.from({ length: 30 }, (_, index) => `burst ${index} ${["é", "€", "😀"][index % 3]}汉`);

/** Runs the chat over every way and hands every case to `report`. */
export async function runBrowser({ report, binary }) {
  const browser = await launchChromium();
  try {
    for (const [name, way] of Object.entries(WAYS)) {
      await chat({ name, way, binary, browser, report: prefixed(report, name) });
    }
  } finally {
    await browser.close();
  }
}

const prefixed = (report, prefix) => (name, body) =>
  report.run(`${prefix}: ${name}`, () => within(60_000, name, body()));

async function chat({ name, way, binary, browser, report }) {
  const server = await startServer(binary);
  const windows = [];
  const witness = new Witness();
  try {
    await report("says first that it listens", () =>
      assertSame(`listening on *:${server.port}`, server.lines[0]),
    );
    await report("serves the page as it is", () => assertPage(server.url));

    const opened = await report("opens two windows", async () => {
      await prints(server, "a user connected", 2, async () => {
        for (let index = 0; index < 2; index += 1) {
          windows.push(await Window.open(browser, server.url, way));
        }
        await Promise.all(windows.map((window) => window.connected()));
      });
      return true;
    });
    if (!opened) {
      return;
    }
    const [first, second] = windows;
    const everything = [];

    await report("shows every message in both windows, in order", async () => {
      for (const [index, text] of MESSAGES.entries()) {
        await windows[index % 2].send(text);
        everything.push(text);
        await Promise.all(windows.map((window) => window.shows(everything)));
      }
    });

    await report("keeps the order of many messages at once", async () => {
      await first.sendAll(BURST);
      everything.push(...BURST);
      await Promise.all(windows.map((window) => window.shows(everything)));
    });

    await report("understands a client of today, and is understood", async () => {
      await prints(server, "a user connected", 1, () => witness.join(server.url));
      for (const text of MESSAGES) {
        await second.send(text);
        await witness.hears(text);
        witness.say(`4.x: ${text}`);
        await witness.hears(`4.x: ${text}`);
        everything.push(text, `4.x: ${text}`);
      }
      await Promise.all(windows.map((window) => window.shows(everything)));
      await prints(server, "user disconnected", 1, () => witness.leave());
    });

    await report("shows markup as text", () => Promise.all(windows.map((window) => window.assertNoMarkup())));
    await report(`talks by ${name}`, () =>
      Promise.all(windows.map((window) => window.assertWay(name, way.transport))),
    );
    await Promise.all(windows.map((window, index) => window.screenshot(`chat-${name}-${index + 1}.png`)));

    await report("notices a window that is closed", async () => {
      const third = await Window.open(browser, server.url, way);
      await third.connected();
      await third.assertWay(name, way.transport);
      // One that is gone before its first poll has reached the server is missed only when it does not
      // answer a ping.
      await sleep(500);
      third.assertNoErrors();
      await prints(server, "user disconnected", 1, () => third.close());
    });

    await report("ends well when it is asked to", async () => {
      const { code, signal } = await server.stop();
      assertSame("0", String(code ?? signal));
      await Promise.all(windows.map((window) => window.disconnected()));
    });

    await report("the pages report no errors", () => windows.forEach((window) => window.assertNoErrors()));
  } finally {
    witness.leave();
    await Promise.all(windows.map((window) => window.close()));
    await server.stop().catch(() => {});
  }
}

/** One window of one user. */
class Window {
  static async open(browser, url, way) {
    const context = await newContext(browser);
    const page = await context.newPage();
    const window = new Window(context, page);
    await page.addInitScript(way.prepare);
    await loadPage(page, `${url}/`, SCRIPTS);
    await page.evaluate(() => {
      globalThis.disconnections = [];
      globalThis.socket.on("disconnect", (reason) => globalThis.disconnections.push(reason));
    });
    return window;
  }

  constructor(context, page) {
    this.context = context;
    this.page = page;
    this.errors = [];
    this.requests = [];
    this.sockets = 0;
    page.on("pageerror", (error) => this.errors.push(error.stack ?? error.message));
    page.on("request", (request) => this.requests.push(new URL(request.url())));
    page.on("websocket", () => (this.sockets += 1));
  }

  async connected() {
    await until(LIMIT, "connected", () => this.page.evaluate(() => globalThis.socket.connected));
  }

  async disconnected() {
    await until(LIMIT, "disconnected", () => this.page.evaluate(() => globalThis.disconnections.length > 0));
  }

  /** As a person does it. */
  async send(text) {
    await this.page.fill("#m", text);
    await this.page.click("form button");
    assertSame("", await this.page.inputValue("#m"));
  }

  /** As nobody could: all at once. */
  async sendAll(texts) {
    await this.page.evaluate((all) => {
      for (const text of all) {
        globalThis.$("#m").val(text);
        globalThis.$("form").submit();
      }
    }, texts);
  }

  texts() {
    return this.page.$$eval("#messages li", (items) => items.map((item) => item.textContent));
  }

  async shows(expected) {
    const complete = async () => (await this.texts()).length >= expected.length;
    await until(LIMIT, `${expected.length} messages`, complete).catch(() => {});
    assertSame(JSON.stringify(expected), JSON.stringify(await this.texts()));
  }

  async assertNoMarkup() {
    assertSame(0, await this.page.$$eval("#messages li *", (elements) => elements.length));
  }

  async assertWay(name, transport) {
    const current = () => this.page.evaluate(() => globalThis.socket.io.engine.transport.name);
    await until(LIMIT, `transport ${transport}`, async () => (await current()) === transport);
    const polls = this.requests.filter(({ searchParams }) => searchParams.get("transport") === "polling");
    assertSame(true, polls.length > 0);
    assertSame(
      name === "jsonp",
      polls.every(({ searchParams }) => searchParams.has("j")),
    );
    assertSame(
      name === "jsonp",
      polls.some(({ searchParams }) => searchParams.has("j")),
    );
    assertSame(name === "websocket", this.sockets > 0);
  }

  assertNoErrors() {
    assertSame("", this.errors.join("\n"));
  }

  async screenshot(file) {
    mkdirSync(artifacts, { recursive: true });
    await this.page.screenshot({ path: path.join(artifacts, file) });
  }

  close() {
    return this.context.close();
  }
}

/**
 * A client of the newest generation in the same chat. Two clients of one old generation could
 * misread each other's letters in ways that cancel out.
 */
class Witness {
  #heard = [];

  async join(url) {
    const { io } = createRequire(import.meta.url)("sio-4.8.4");
    this.socket = io(url, { transports: ["websocket"], reconnection: false, forceNew: true });
    this.socket.on("chat message", (text) => this.#heard.push(text));
    await until(LIMIT, "a client 4.x connected", () => this.socket.connected);
  }

  say(text) {
    this.socket.emit("chat message", text);
  }

  async hears(text) {
    await until(LIMIT, `${JSON.stringify(text)} at a client 4.x`, () => this.#heard.length > 0);
    assertSame(text, this.#heard.shift());
  }

  leave() {
    this.socket?.disconnect();
  }
}

async function assertPage(url) {
  const response = await fetch(`${url}/`);
  assertSame(200, response.status);
  assertSame(true, /^text\/html\b/.test(response.headers.get("content-type")));
  const served = Buffer.from(await response.arrayBuffer());
  assertSame(true, served.equals(readFileSync(path.join(workspace, "static", "index.html"))));
}

/** Does something and waits until the server has printed `line` for it, `count` times and not more often. */
async function prints(server, line, count, action) {
  const printed = () => server.lines.filter((it) => it === line).length;
  const before = printed();
  await action();
  await until(LIMIT, `the line "${line}"`, () => printed() >= before + count);
  assertSame(count, printed() - before);
}

function assertSame(expected, actual) {
  if (expected !== actual) {
    throw new Error(`${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
  }
}
