"""The checks of python-socketio, one body for the generations 4 and 5.

One argument, the description of the cell as JSON. Prints a line of JSON for each check.
"""

import json
import os
import pathlib
import queue
import sys
import threading
import time

import engineio.payload
import socketio

# These clients refuse more packets in one polling body, 16 unless told, than a burst brings.
engineio.payload.Payload.max_decode_packets = 1000

CHECK_LIMIT = 15
QUIET = 0.3
BURST = 200

SAMPLES = json.loads((pathlib.Path(__file__).parents[1] / "samples.json").read_text("utf-8"))
EVERY_BYTE = bytes(range(256))
LARGE = bytes((index * 31 + (index >> 8)) & 255 for index in range(70_000))
HIGH = bytes([255, 128, 129, 0, 254])


def shorten(value):
    text = ascii(value)
    return text if len(text) <= 160 else f"{text[:160]}… ({len(text)})"


def assert_same(expected, actual, what):
    # Equality alone would let True pass for 1.
    if type(expected) is not type(actual) or expected != actual:
        raise AssertionError(f"{what}: {shorten(actual)} instead of {shorten(expected)}")


class Client:
    """One connection of the client under test; what it reports is taken one by one."""

    def __init__(self, cell, deadline, on_connect=None, auth=None, namespaces=("/",), **options):
        self.cell = cell
        self.deadline = deadline
        self.events = {namespace: queue.Queue() for namespace in namespaces}
        if cell.get("parser"):
            options["serializer"] = cell["parser"]
        self.sio = socketio.Client(**{"reconnection": False, **options})
        for namespace in namespaces:
            for name in ("connect", "disconnect", "connect_error", "message-back", "auth"):
                self.record(name, namespace, on_connect if name == "connect" else None)
        self.extra = {} if auth is None else {"auth": auth}
        self.connect()

    def connect(self):
        transports = self.cell["options"]["transports"]
        self.sio.connect(self.cell["url"], transports=transports, namespaces=list(self.events), **self.extra)
        for namespace in self.events:
            self.expect("connect", namespace)

    def record(self, name, namespace, then):
        def handler(*args):
            self.events[namespace].put((name, list(args)))
            if then:
                then(self.sio)

        self.sio.on(name, handler, namespace=namespace)

    def take(self, namespace="/"):
        remaining = max(self.deadline - time.monotonic(), 0)
        try:
            return self.events[namespace].get(timeout=remaining)
        except queue.Empty:
            raise AssertionError(f"not done on {self.sio.transport()} after {CHECK_LIMIT} s") from None

    def expect(self, name, namespace="/"):
        while True:
            event, args = self.take(namespace)
            if event == "auth" and name != "auth":
                continue
            if event != name:
                raise AssertionError(f"{event}({shorten(args)}) instead of {name}")
            return args

    def expect_echoes(self, messages):
        """Each once. These clients hear each message in a thread of its own, and threads may overtake each
        other; that the server keeps the order is for the clients to say that do."""
        heard = [self.expect("message-back") for _ in messages]
        assert_same(sorted([message] for message in messages), sorted(heard), "echoes")

    def assert_no_more(self, when, namespace="/"):
        left = [event for event in list(self.events[namespace].queue) if event[0] != "auth"]
        if left:
            raise AssertionError(f"{shorten(left)} {when}")

    def assert_transport(self):
        assert_same(self.cell["transports"]["last"], self.sio.transport(), "transport")

    def assert_reason(self, args, *allowed):
        # Generation 4 and early versions of 5 give no reason.
        if args and args[0] not in allowed:
            raise AssertionError(f"reason {args[0]} instead of {' or '.join(allowed)}")

    def echo(self, *args, namespace="/"):
        self.sio.emit("message", args, namespace=namespace)
        assert_same(list(args), self.expect("message-back", namespace), "echo")

    def ask(self, event, *args):
        answer = self.sio.call(event, args, timeout=max(self.deadline - time.monotonic(), 1))
        # Its call() unwraps an answer of one argument, and makes None of one without any.
        return list(answer) if isinstance(answer, tuple) else [] if answer is None else [answer]

    def acknowledge(self, *args):
        assert_same(list(args), self.ask("message-with-ack", *args), "ack")

    def spell(self, text):
        points = [ord(char) for char in text]
        assert_same([points], self.ask("spell", text), f"what the server reads for {ascii(text)}")
        assert_same([text], self.ask("compose", points), "what the server writes")

    def close(self):
        self.sio.disconnect()


def text(open_client):
    client = open_client()
    samples = SAMPLES["text"]
    for sample in samples:
        client.spell(sample)
    for sample in samples:
        client.sio.emit("message", sample)
    client.expect_echoes(samples)
    client.echo(*samples, {samples[3]: [samples[4], {"deep": samples[2]}]}, 1.5, True, None)
    client.echo(SAMPLES["long"]["unit"] * SAMPLES["long"]["times"])
    client.echo()
    return client


def binary(open_client):
    client = open_client()
    client.echo(EVERY_BYTE)
    client.echo(LARGE)
    client.echo({"a": [HIGH, "é", {"b": EVERY_BYTE}], "c": 1}, "😀", HIGH, LARGE)
    return client


def ack(open_client):
    client = open_client()
    client.acknowledge()
    client.acknowledge(*SAMPLES["text"], 7)
    client.acknowledge({"a": [HIGH, "é"]}, EVERY_BYTE)
    answers = queue.Queue()
    several = ["é", 1, EVERY_BYTE, "😀"]
    for index, arg in enumerate(several):
        # The index is bound here, to tell whose answer it is.
        client.sio.emit("message-with-ack", arg, callback=lambda *back, index=index: answers.put((index, list(back))))
    for _ in several:
        index, back = answers.get(timeout=CHECK_LIMIT)
        assert_same([several[index]], back, "acks side by side")
    return client


def namespace(open_client):
    by_payload = open_client.cell.get("namespaceAuth") == "payload"
    token = {"token": "é 😀"}
    client = open_client(namespaces=("/", "/custom"), auth=token if by_payload else None)
    auth = client.expect("auth", "/custom")
    if by_payload:
        assert_same([token], auth, "auth")
    client.echo("to /custom", "é", namespace="/custom")
    client.echo("to /", "€")
    client.echo(EVERY_BYTE, namespace="/custom")
    client.sio.emit("kick", namespace="/custom")
    client.assert_reason(client.expect("disconnect", "/custom"), "server disconnect")
    client.echo("/ is still there", "é")
    client.assert_no_more("on /custom after it was left", "/custom")
    return client


def burst(open_client):
    parts = SAMPLES["burst"]
    messages = [f"{index} {parts[index % len(parts)]}" for index in range(BURST)]

    def send_all(sio):
        for message in messages:
            sio.emit("message", message)

    client = open_client(on_connect=send_all)
    client.expect_echoes(messages)
    client.echo("the end")
    return client


COMING_BACK = {"reconnection": True, "reconnection_delay": 0.05, "reconnection_delay_max": 0.1}


def reconnect(open_client):
    client = open_client(**COMING_BACK)
    client.echo("before", "é")
    client.sio.emit("drop")
    if client.sio.transport() == "polling":
        # By polling the server says that it closes, and these clients then leave it to the application
        # to come back.
        client.assert_reason(client.expect("disconnect"), "server disconnect")
        client.sio.wait()
        client.connect()
    else:
        client.assert_reason(client.expect("disconnect"), "transport close", "transport error")
        client.expect("connect")
    client.echo("after", "😀", EVERY_BYTE)
    return client


def server_close(open_client):
    client = open_client(**COMING_BACK)
    client.sio.emit("kick")
    client.assert_reason(client.expect("disconnect"), "server disconnect")
    time.sleep(QUIET)
    client.assert_no_more("after the disconnection")
    return client


CHECKS = [text, binary, ack, namespace, burst, reconnect, server_close]


class Opener:
    """Opens the client of a check, and has it to close when the check failed."""

    def __init__(self, cell):
        self.cell = cell
        self.deadline = time.monotonic() + CHECK_LIMIT
        self.client = None

    def __call__(self, **options):
        self.client = Client(self.cell, self.deadline, **options)
        return self.client


def run_check(cell, check):
    open_client = Opener(cell)
    try:
        client = check(open_client)
        if check is not server_close:
            client.assert_transport()
            client.assert_no_more("at the end")
    finally:
        if open_client.client:
            open_client.client.close()


def say(result):
    print(json.dumps(result), flush=True)


def main():
    cell = json.loads(sys.argv[1])
    threading.excepthook = lambda hook: say({"uncaught": repr(hook.exc_value)})
    for check in CHECKS:
        name = check.__name__.replace("_", "-")
        try:
            run_check(cell, check)
            say({"check": name})
        except Exception as error:  # whatever a client raises is a failed check
            say({"check": name, "error": f"{type(error).__name__}: {error}"})
    # Threads of the client that still wait must not hold the process.
    os._exit(0)


main()
