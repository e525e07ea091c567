import { accessSync, constants } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

function executable() {
  const candidates = process.env.CHROMIUM_BIN
    ? [process.env.CHROMIUM_BIN]
    : (process.env.PATH ?? "")
        .split(path.delimiter)
        .flatMap((dir) => NAMES.map((name) => path.join(dir, name)));
  const found = candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) {
    throw new Error("no Chromium found; conformance/setup installs it or says how");
  }
  return found;
}

/** A headless Chromium that talks to nobody but the pages' own servers. */
export function launchChromium() {
  return chromium.launch({
    executablePath: executable(),
    args: [
      // Its sandbox needs privileges that containers and root do not give.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      // A page that is not in front must not have its timers slowed down.
      "--disable-background-timer-throttling",
      "--disable-backgrounding-occluded-windows",
      "--disable-renderer-backgrounding",
    ],
  });
}

export async function newContext(browser) {
  const context = await browser.newContext();
  // A page that `loadPage` answers counts as one from the internet, and would need its user's
  // consent to talk to this machine.
  await context.grantPermissions(["local-network-access"]);
  return context;
}

/**
 * Loads `url` with what `answers` maps addresses to, and nothing from elsewhere but the page's own
 * server. The interception ends with the load, so that the page then talks to the server directly.
 */
export async function loadPage(page, url, answers) {
  const origin = new URL(url).origin;
  const strangers = [];
  const answer = (route) => {
    const address = route.request().url();
    if (answers[address]) {
      return route.fulfill(answers[address]);
    }
    if (new URL(address).origin === origin) {
      return route.continue();
    }
    strangers.push(address);
    return route.abort();
  };
  await page.route("**/*", answer);
  // A page that polls by JSONP from the start does not get as far as its load event.
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await page.unrouteAll({ behavior: "ignoreErrors" });
  if (strangers.length) {
    throw new Error(`the page asked for ${strangers.join(", ")}`);
  }
}
