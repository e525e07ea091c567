// What is run: every client, in every runtime that it has, over every transport that it can use.

const polling = { transports: ["polling"] };

const WAYS = {
  polling: { options: polling, transports: { first: "polling", last: "polling" } },
  websocket: {
    options: { transports: ["websocket"] },
    transports: { first: "websocket", last: "websocket" },
  },
  upgrade: {
    options: { transports: ["polling", "websocket"] },
    transports: { first: "polling", last: "websocket" },
  },
  jsonp: { options: { ...polling, forceJSONP: true }, transports: { first: "polling", last: "polling" } },
  base64: { options: { ...polling, forceBase64: true }, transports: { first: "polling", last: "polling" } },
  // As `upgrade`, from a page of another origin.
  "cross-origin": {
    options: { transports: ["polling", "websocket"], withCredentials: true },
    transports: { first: "polling", last: "websocket" },
  },
};

const COMMON = ["polling", "websocket", "upgrade"];

const CLIENTS = [
  // Its JSONP calls itself without end when it is closed, whatever the server does.
  { version: "1.0.6", runtime: "chromium", bundle: "socket.io.js", ways: [...COMMON, "base64"] },
  {
    version: "1.3.5",
    runtime: "chromium",
    bundle: "socket.io.js",
    ways: [...COMMON, "jsonp", "base64", "cross-origin"],
  },
  { version: "1.4.8", runtime: "chromium", bundle: "socket.io.js", ways: [...COMMON, "jsonp", "base64"] },
  {
    version: "1.7.4",
    runtime: "chromium",
    bundle: "dist/socket.io.js",
    ways: [...COMMON, "jsonp", "base64"],
    namespaceAuth: "query",
  },
  {
    version: "2.5.0",
    runtime: "chromium",
    bundle: "dist/socket.io.js",
    ways: [...COMMON, "jsonp", "base64", "cross-origin"],
    namespaceAuth: "query",
  },
  {
    version: "4.8.4",
    runtime: "chromium",
    bundle: "dist/socket.io.js",
    ways: [...COMMON, "base64", "cross-origin"],
    namespaceAuth: "payload",
  },
  { version: "1.0.6", runtime: "node", ways: COMMON, oldBuffers: true },
  { version: "1.3.5", runtime: "node", ways: COMMON, oldBuffers: true },
  { version: "1.4.8", runtime: "node", ways: COMMON },
  { version: "1.7.4", runtime: "node", ways: COMMON, namespaceAuth: "query" },
  { version: "2.5.0", runtime: "node", ways: COMMON, namespaceAuth: "query" },
  { version: "3.1.3", runtime: "node", ways: COMMON, namespaceAuth: "payload" },
  { version: "4.8.4", runtime: "node", ways: COMMON, namespaceAuth: "payload" },
  { version: "4.6.1", runtime: "python", ways: COMMON },
  { version: "5.18.1", runtime: "python", ways: COMMON, namespaceAuth: "payload" },
  // Another parser, against a server of its own.
  {
    version: "4.8.4",
    runtime: "chromium",
    bundle: "dist/socket.io.msgpack.min.js",
    ways: COMMON,
    namespaceAuth: "payload",
    parser: "msgpack",
  },
  { version: "4.8.4", runtime: "node", ways: COMMON, namespaceAuth: "payload", parser: "msgpack" },
  { version: "5.18.1", runtime: "python", ways: COMMON, namespaceAuth: "payload", parser: "msgpack" },
];

const CHECKS = ["text", "binary", "ack", "namespace", "burst", "reconnect", "server-close"];

/** What is checked in a cell. Python has no more to say in MessagePack than in JSON. */
export const checksOf = ({ parser, runtime }) => (parser && runtime !== "python" ? [...CHECKS, "parser"] : CHECKS);

const library = (runtime) => (runtime === "python" ? "python-socketio" : "socket.io-client");

export const cells = CLIENTS.flatMap(({ ways, ...client }) =>
  ways.map((way) => ({
    ...client,
    way,
    ...WAYS[way],
    client: [`${library(client.runtime)} ${client.version}`, ...(client.parser ? [client.parser] : [])].join(", "),
    name: [client.version, client.runtime, ...(client.parser ? [client.parser] : []), way].join("/"),
  })),
);
