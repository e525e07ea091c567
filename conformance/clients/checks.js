// The checks of a JavaScript client. One body for Node.js and for the pages of all generations: it
// stands on nothing but the API that socket.io-client has had since 1.0, and is a classic script so
// that a page can load it as it is.
globalThis.runClientChecks = (function () {
  "use strict";

  const CHECK_LIMIT = 15000;
  const QUIET = 300;
  const BURST = 200;

  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  function assert(condition, message) {
    if (!condition) {
      throw new Error(message);
    }
  }

  function show(value) {
    const text = typeof value === "string" ? value : JSON.stringify(value) || String(value);
    const short = text.length > 120 ? `${text.slice(0, 120)}… (${text.length})` : text;
    return JSON.stringify(short).replace(
      /[^ -~]/g,
      (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  }

  // Binary data of the expectations. What a client sends and gets in its place differs by runtime
  // and generation.
  class Bytes {
    constructor(bytes) {
      this.bytes = Uint8Array.from(bytes);
    }
  }

  /** The value with every `Bytes` replaced by what the client takes for binary. */
  function materialize(value, make) {
    if (value instanceof Bytes) {
      return make(value.bytes);
    }
    if (Array.isArray(value)) {
      return value.map((item) => materialize(item, make));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, materialize(item, make)]));
    }
    return value;
  }

  function bytesOf(value) {
    if (value instanceof ArrayBuffer) {
      return new Uint8Array(value);
    }
    return ArrayBuffer.isView(value)
      ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      : null;
  }

  /** Where `actual` is not `expected`, or null. */
  function difference(expected, actual, path) {
    if (expected instanceof Bytes) {
      const bytes = bytesOf(actual);
      if (!bytes) {
        return `${path}: ${show(actual)} instead of ${expected.bytes.length} bytes`;
      }
      if (bytes.length !== expected.bytes.length) {
        return `${path}: ${bytes.length} bytes instead of ${expected.bytes.length}`;
      }
      const at = expected.bytes.findIndex((byte, index) => byte !== bytes[index]);
      return at < 0 ? null : `${path}: byte ${at} is ${bytes[at]} instead of ${expected.bytes[at]}`;
    }
    if (expected === null || typeof expected !== "object") {
      return expected === actual ? null : `${path}: ${show(actual)} instead of ${show(expected)}`;
    }
    if (!actual || typeof actual !== "object" || Array.isArray(expected) !== Array.isArray(actual)) {
      return `${path}: ${show(actual)} instead of ${show(expected)}`;
    }
    const keys = Object.keys(expected);
    if (keys.length !== Object.keys(actual).length) {
      return `${path}: ${Object.keys(actual).length} members instead of ${keys.length}`;
    }
    return keys.reduce(
      (found, key) => found || difference(expected[key], actual[key], `${path}.${key}`),
      null,
    );
  }

  function assertSame(expected, actual, what) {
    const found = difference(expected, actual, what);
    assert(!found, found);
  }

  /** Everything that one client socket reports, in order, to be taken one by one. */
  class Events {
    constructor(socket, names) {
      this.queue = [];
      this.waiting = [];
      names.forEach((name) => socket.on(name, (...args) => this.push({ name, args })));
    }

    push(event) {
      const waiting = this.waiting.shift();
      if (waiting) {
        waiting(event);
      } else {
        this.queue.push(event);
      }
    }

    take() {
      return this.queue.length
        ? Promise.resolve(this.queue.shift())
        : new Promise((resolve) => this.waiting.push(resolve));
    }

    async expect(name) {
      const event = await this.take();
      assert(event.name === name, `${describe(event)} instead of ${name}`);
      return event.args;
    }

    assertNoMore(when) {
      assert(this.queue.length === 0, `${this.summary()} ${when}`);
    }

    summary() {
      return `${this.queue.length} events not asked for: ${this.queue.slice(0, 3).map(describe).join(", ")}`;
    }
  }

  function describe({ name, args }) {
    const shown = args.map((arg) =>
      arg instanceof Error ? `${arg.message} ${show(arg.description)}` : show(arg),
    );
    return `${name}(${shown.join(", ")})`;
  }

  const EVENTS = ["connect", "disconnect", "connect_error", "error", "message-back"];

  /** One connection of the client under test. */
  class Client {
    constructor(env, extra) {
      this.env = env;
      const options = Object.assign(
        { forceNew: true, reconnection: false, timeout: 5000 },
        env.options,
        extra,
      );
      this.socket = env.io(env.url, options);
      this.events = new Events(this.socket, EVENTS);
      this.assertTransport(env.transports.first, "at first");
    }

    get transport() {
      return this.socket.io.engine.transport.name;
    }

    assertTransport(expected, when) {
      assert(this.transport === expected, `transport ${when}: ${this.transport} instead of ${expected}`);
    }

    /** Waits until the client is connected and on the transport that it is to stay on. */
    async settle() {
      await this.events.expect("connect");
      while (this.transport !== this.env.transports.last) {
        await sleep(10);
      }
    }

    async echo(...args) {
      this.socket.emit("message", ...materialize(args, this.env.makeBinary));
      assertSame(args, await this.events.expect("message-back"), "echo");
    }

    /** Emits an event and resolves with the arguments of its acknowledgement. */
    ask(event, ...args) {
      return new Promise((resolve) => {
        this.socket.emit(event, ...materialize(args, this.env.makeBinary), (...back) => resolve(back));
      });
    }

    async acknowledge(...args) {
      assertSame(args, await this.ask("message-with-ack", ...args), "ack");
    }

    // A text that both ways get wrong alike comes back right, so that an echo proves nothing of what
    // the server, and with it every other client, sees. The code points of a text are plain ASCII.
    async spell(text) {
      const points = Array.from(text, (char) => char.codePointAt(0));
      assertSame([points], await this.ask("spell", text), `what the server reads for ${show(text)}`);
      assertSame([text], await this.ask("compose", points), "what the server writes");
    }

    assertReason([reason], ...allowed) {
      assert(allowed.includes(reason), `reason ${show(reason)} instead of ${allowed.join(" or ")}`);
    }

    close() {
      this.socket.io.reconnection(false);
      this.socket.disconnect();
      // The manager stays open as long as it has another namespace.
      this.socket.io.engine.close();
    }
  }

  function attachments() {
    const every = Array.from({ length: 256 }, (_, byte) => byte);
    const large = Array.from({ length: 70_000 }, (_, index) => (index * 31 + (index >> 8)) & 255);
    return { every: new Bytes(every), large: new Bytes(large), high: new Bytes([255, 128, 129, 0, 254]) };
  }

  function numbered(count, parts) {
    return Array.from({ length: count }, (_, index) => `${index} ${parts[index % parts.length]}`);
  }

  const CHECKS = {
    async text(client) {
      const { text, long } = client.env.samples;
      await client.settle();
      for (const sample of text) {
        await client.spell(sample);
      }
      text.forEach((sample) => client.socket.emit("message", sample));
      for (const sample of text) {
        assertSame([sample], await client.events.expect("message-back"), "echo of several");
      }
      await client.echo(...text, { [text[3]]: [text[4], { deep: text[2] }] }, 1.5, true, null);
      await client.echo(long.unit.repeat(long.times));
      await client.echo();
    },

    async binary(client) {
      const { every, large, high } = attachments();
      await client.settle();
      await client.echo(every);
      await client.echo(large);
      await client.echo({ a: [high, "é", { b: every }], c: 1 }, "😀", high, large);
      if (client.env.makeBlob) {
        client.socket.emit("message", client.env.makeBlob(every.bytes), "汉字");
        assertSame([every, "汉字"], await client.events.expect("message-back"), "blob");
      }
    },

    async ack(client) {
      const { text } = client.env.samples;
      const { every, high } = attachments();
      await client.settle();
      await client.acknowledge();
      await client.acknowledge(...text, 7);
      await client.acknowledge({ a: [high, "é"] }, every);
      await Promise.all(["é", 1, every, "😀"].map((arg) => client.acknowledge(arg)));
    },

    async namespace(client) {
      const { env } = client;
      const token = "é 😀";
      await client.settle();
      const options = {
        payload: { auth: { token } },
        query: { query: `token=${encodeURIComponent(token)}` },
      };
      const custom = client.socket.io.socket("/custom", options[env.namespaceAuth]);
      const events = new Events(custom, [...EVENTS, "auth"]);
      await events.expect("connect");
      const [auth] = await events.expect("auth");
      if (env.namespaceAuth) {
        assertSame({ token }, auth, "auth");
      }
      custom.emit("message", "to /custom", "é");
      assertSame(["to /custom", "é"], await events.expect("message-back"), "/custom");
      await client.echo("to /", "€");
      custom.emit("message", materialize(attachments().every, env.makeBinary));
      assertSame([attachments().every], await events.expect("message-back"), "/custom");
      custom.emit("kick");
      client.assertReason(await events.expect("disconnect"), "io server disconnect");
      await client.echo("/ is still there", "é");
      events.assertNoMore("on /custom after it was left");
    },

    async burst(client) {
      const messages = numbered(BURST, client.env.samples.burst);
      // In the callback itself: the transport may still be upgrading while all of this is on its way.
      client.socket.on("connect", () =>
        messages.forEach((message) => client.socket.emit("message", message)),
      );
      await client.settle();
      for (const message of messages) {
        assertSame([message], await client.events.expect("message-back"), "burst");
      }
      await client.echo("the end");
    },

    reconnect: {
      options: { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 },
      async run(client) {
        await client.settle();
        await client.echo("before", "é");
        client.socket.emit("drop");
        client.assertReason(await client.events.expect("disconnect"), "transport close", "transport error");
        // Kept by the client until it is back.
        client.socket.emit("message", "in between", "€");
        await client.settle();
        assertSame(["in between", "€"], await client.events.expect("message-back"), "echo");
        await client.echo("after", "😀", attachments().every);
      },
    },

    "server-close": {
      options: { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100 },
      async run(client) {
        await client.settle();
        client.socket.emit("kick");
        client.assertReason(await client.events.expect("disconnect"), "io server disconnect");
        await sleep(QUIET);
        client.events.assertNoMore("after the disconnection");
      },
      // The connection is the client's to close after that, and not every generation does.
      transportAtEnd: false,
    },

    parser: {
      needsParser: true,
      async run(client) {
        const { every, high } = attachments();
        await client.settle();
        const date = new Date(Date.UTC(2024, 1, 29, 12, 30, 0, 123));
        client.socket.emit("message", date, undefined, { at: [date, undefined], gone: undefined }, NaN, null);
        const iso = "2024-02-29T12:30:00.123Z";
        assertSame(
          [iso, null, { at: [iso, null] }, null, null],
          await client.events.expect("message-back"),
          "what JSON has no word for",
        );
        const edges = [2 ** 5, 2 ** 7, 2 ** 8, 2 ** 15, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 53 - 1];
        const numbers = [0, ...edges.flatMap((edge) => [edge - 1, edge, -edge, -edge - 1]), 0.1, -2.5, 5e-324];
        await client.echo(...numbers.filter(Number.isSafeInteger), 0.1, -2.5, 5e-324);
        for (const length of [15, 16, 31, 32, 255, 256, 65_535, 65_536]) {
          const list = new Array(length).fill(1);
          const object = Object.fromEntries(list.map((one, index) => [`${index}`, one]));
          await client.echo("é".repeat(length / 2), list, object, new Bytes(list));
        }
        await client.echo({ _placeholder: true, num: 0 }, every, [{ _placeholder: true, num: 1 }], high);
        client.socket.on("question", (...args) => args.pop()(`${args[0]}!`, ...materialize([high], client.env.makeBinary), -7));
        assertSame(["é!", high, -7], await client.ask("ask", "é", every), "ask");
        const refusals = { "/nowhere": ["Invalid namespace"], "/shut": ["nobody gets in", { code: 7, é: [null] }] };
        for (const [name, [message, data]] of Object.entries(refusals)) {
          const events = new Events(client.socket.io.socket(name), EVENTS);
          const [error] = await events.expect("connect_error");
          assertSame([message, data], [error.message, error.data], name);
        }
        await client.echo("/ is still there", every);
      },
    },
  };

  async function runCheck(env, { options = {}, run, transportAtEnd = true }) {
    const client = new Client(env, options);
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`not done on ${client.transport}, ${client.events.summary()}`)),
        CHECK_LIMIT,
      );
    });
    try {
      await Promise.race([run(client), late]);
      if (transportAtEnd) {
        client.assertTransport(env.transports.last, "at the end");
        client.events.assertNoMore("at the end");
      }
    } finally {
      clearTimeout(timer);
      client.close();
    }
  }

  /**
   * Runs all checks and hands the outcome of each to `env.report({ check, error })`.
   *
   * env.io            the client's entry point
   * env.url           the server
   * env.options       what makes the client use the transports of the cell
   * env.transports    names of the `first` and the `last` transport
   * env.makeBinary    from a Uint8Array to what the client takes for binary
   * env.makeBlob      the same for Blob, where there is one
   * env.namespaceAuth how the client hands data to a namespace: "payload", "query", or not at all
   * env.parser        the name of the client's parser, if it is not the default one
   * env.samples       samples.json
   */
  return async function runClientChecks(env) {
    for (const [check, definition] of Object.entries(CHECKS)) {
      if (definition.needsParser && !env.parser) {
        continue;
      }
      try {
        await runCheck(env, typeof definition === "function" ? { run: definition } : definition);
        await env.report({ check });
      } catch (error) {
        await env.report({ check, error: String((error && error.message) || error) });
      }
    }
  };
})();
