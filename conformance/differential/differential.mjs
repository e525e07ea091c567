// Our decoders beside the official ones: the same inputs, and each difference has its reason.
import { spawn } from "node:child_process";
import readline from "node:readline";
import { classes } from "./classes.mjs";
import { inputs } from "./inputs.mjs";
import { official, ours } from "./official.mjs";

const COUNT = 20_000;

/** A case for each decoder and for each class of differences. A difference of no class fails. */
export async function runDifferential({ report, binary }) {
  const all = inputs(COUNT);
  const answers = await ask(binary, all);
  const hits = new Map(classes.map((it) => [it.name, 0]));
  const seen = {};
  for (const [index, input] of all.entries()) {
    const counts = (seen[input.decoder] ??= { inputs: 0, same: 0, accepted: 0, unexplained: [] });
    const theirs = official(input);
    const own = ours(input.decoder, answers[index]);
    counts.inputs += 1;
    counts.accepted += own.error ? 0 : 1;
    if (isSame(theirs, own)) {
      counts.same += 1;
      continue;
    }
    const found = classes.find((it) => it.decoders.includes(input.decoder) && it.holds(input.messages, theirs, own));
    if (found) {
      hits.set(found.name, hits.get(found.name) + 1);
    } else {
      counts.unexplained.push(`${show(input)}\n  official ${show(theirs)}\n  ours     ${show(own)}`);
    }
  }
  for (const [decoder, { inputs, same, accepted, unexplained }] of Object.entries(seen)) {
    await report.run(`${decoder}: ${same} of ${inputs} the same, ${accepted} accepted`, () => {
      if (unexplained.length) {
        const first = unexplained.slice(0, Number(process.env.DIFFERENCES ?? 5)).join("\n");
        throw new Error(`${unexplained.length} differences without a reason:\n${first}`);
      }
      // a form is never refused
      if (decoder !== "jsonp" && (!accepted || accepted === inputs)) {
        throw new Error("inputs of one kind only");
      }
    });
  }
  for (const { name } of classes) {
    await report.run(`${name}: ${hits.get(name)}`, () => {
      if (!hits.get(name)) {
        throw new Error("nothing differs like this any more");
      }
    });
  }
}

const isSame = (theirs, own) =>
  Boolean(theirs.error) === Boolean(own.error) && JSON.stringify(theirs.packets) === JSON.stringify(own.packets);

const show = (it) => JSON.stringify(it, (_, value) => (value?.type === "Buffer" ? Buffer.from(value.data).toString("latin1") : value)).slice(0, 300);

/** What our decoders say, in the order of the inputs. */
async function ask(binary, inputs) {
  const child = spawn(binary, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = readline.createInterface({ input: child.stdout });
  const message = (it) => (typeof it === "string" ? it : { bytes: it.toString("base64") });
  const text = inputs.map(({ decoder, messages }) => JSON.stringify({ decoder, messages: messages.map(message) }));
  child.stdin.end(`${text.join("\n")}\n`);
  const answers = [];
  for await (const line of lines) {
    answers.push(JSON.parse(line));
  }
  if (answers.length !== inputs.length) {
    throw new Error(`${answers.length} answers to ${inputs.length} inputs`);
  }
  return answers;
}
