// Clients of one check: made by it, closed behind it.
import { randomUUID } from "node:crypto";
import { io } from "sio-4.8.4";
import { within } from "../lib/time.mjs";

/** Longer than anything takes that a check waits for. */
const LIMIT = 5_000;

export class Clients {
  #sockets = new Set();
  #urls;
  #url;

  constructor(urls, transports) {
    this.#urls = urls;
    this.#url = urls.patient;
    this.transports = transports;
  }

  /** From now on at the server that keeps what it could recover only shortly. */
  ofImpatientServer() {
    this.#url = this.#urls.impatient;
    return this;
  }

  /** A client of a namespace on a connection of its own, unless `options` say otherwise. */
  socket(namespace, options) {
    const socket = io(this.#url + namespace, {
      transports: this.transports,
      forceNew: true,
      reconnectionDelay: 20,
      ...options,
    });
    this.#sockets.add(socket);
    return socket;
  }

  /** The same, connected. */
  async connect(namespace = "/features", options = {}) {
    const socket = this.socket(namespace, options);
    await connected(socket);
    return socket;
  }

  /** Another namespace on the connection of `socket`. */
  beside(socket, namespace, options) {
    const other = socket.io.socket(namespace, options);
    this.#sockets.add(other);
    return other;
  }

  close() {
    for (const socket of this.#sockets) {
      socket.io.reconnection(false);
      socket.disconnect();
      socket.io.engine?.close();
    }
  }
}

/** Marks a check that polling alone has no use for. */
export const overWebSocket = (check) => Object.assign(check, { needs: "websocket" });

export function assert(condition, message) {
  if (!condition) {
    throw new Error(message);
  }
}

export function assertSame(actual, expected, what) {
  const [found, wanted] = [actual, expected].map((it) => JSON.stringify(it));
  assert(found === wanted, `${what}: ${found} instead of ${wanted}`);
}

/** Resolves with the arguments of the next event of this name. */
export const next = (socket, event) =>
  within(
    LIMIT,
    `the event ${event}`,
    new Promise((resolve) => socket.once(event, (...args) => resolve(args))),
  );

/** Resolves when the socket is connected, and fails when it is refused. */
export async function connected(socket) {
  if (!socket.connected) {
    const outcome = new Promise((resolve, reject) => {
      socket.once("connect", resolve).once("connect_error", reject);
    });
    await within(LIMIT, "a connected socket", outcome);
  }
}

/** Emits an event and resolves with the first argument of the answer. */
export const ask = (socket, event, ...args) =>
  within(LIMIT, `an answer to ${event}`, new Promise((resolve) => socket.emit(event, ...args, resolve)));

/** All arguments of the events of this name, from now on. */
export function collect(socket, event) {
  const events = [];
  socket.on(event, (...args) => events.push(args));
  return events;
}

/** A name that no other check has. */
export const unique = () => randomUUID();

export const range = (count) => Array.from({ length: count }, (_, index) => index);
