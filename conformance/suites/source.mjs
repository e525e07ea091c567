import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { cache } from "../lib/paths.mjs";
import { run } from "../lib/process.mjs";

const REPOSITORY = "https://github.com/socketio/socket.io";
const COMMIT = "d2d753fed4435015c2d83fe62e676b44e07fa3f7";

/** What of the repository is needed. */
const FOLDERS = ["docs", "packages/socket.io-client/test"];

export const HOW_TO_GET = `clone ${REPOSITORY}, check out ${COMMIT.slice(0, 8)} and name its docs folder: conformance/run --suites DIR, or SOCKETIO_SUITES=DIR`;

/** One attempt for all suites. */
let cloned;

/** The folder that is laid out as `docs` of the official repository. Throws where there is none. */
export async function suitesFolder(given = process.env.SOCKETIO_SUITES) {
  if (given) {
    if (!existsSync(given)) {
      throw new Error(`${given} does not exist`);
    }
    return path.resolve(given);
  }
  cloned ??= clone(path.join(cache, "official", COMMIT));
  return path.join(await cloned, "docs");
}

/** The official JavaScript client's own tests, which lie beside it. Throws where there are none. */
export async function clientTestsFolder(given) {
  const folder = path.join(await suitesFolder(given), "..", "packages", "socket.io-client", "test");
  if (!existsSync(folder)) {
    throw new Error(`${folder} does not exist`);
  }
  return folder;
}

/** Gets the folders of the one commit, unless an earlier run did. */
async function clone(folder) {
  if (existsSync(folder)) {
    return folder;
  }
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const git = async (...args) => {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: "0" };
    const { code, signal, stderr } = await run("git", ["-C", unfinished, ...args], { ms: 120_000, env });
    if (code !== 0) {
      throw new Error(`git ${args[0]} ended with ${code ?? signal}: ${stderr.split("\n").at(-1)}`);
    }
  };
  await git("init", "--quiet");
  await git("remote", "add", "origin", REPOSITORY);
  await git("sparse-checkout", "set", ...FOLDERS);
  await git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", COMMIT);
  await git("checkout", "--quiet", COMMIT);
  renameSync(unfinished, folder);
  return folder;
}
