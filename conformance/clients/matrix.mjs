import { readFileSync, writeFileSync } from "node:fs";

const BEGIN = "<!-- clients:begin -->";
const END = "<!-- clients:end -->";
const RUNTIMES = { chromium: "Chromium", node: "Node.js", python: "Python" };

/** The results as a Markdown table: a row per client and runtime, a column per way to the server. */
export function markdown(results) {
  const ways = [...new Set(results.map(({ cell }) => cell.way))];
  const rows = new Map();
  for (const { cell, failed } of results) {
    const title = `${cell.client} | ${RUNTIMES[cell.runtime]}`;
    rows.set(title, { ...rows.get(title), [cell.way]: failed.length ? `fails: ${failed.join(", ")}` : "✓" });
  }
  return [
    `| client | runs in | ${ways.join(" | ")} |`,
    `|---|---|${ways.map(() => "---|").join("")}`,
    ...[...rows].map(([title, row]) => `| ${title} | ${ways.map((way) => row[way] ?? "–").join(" | ")} |`),
  ].join("\n");
}

/** Puts the table between the markers of `file`. */
export function writeTable(file, table) {
  const text = readFileSync(file, "utf8");
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) {
    throw new Error(`${file} has no ${BEGIN} followed by ${END}`);
  }
  const updated = `${text.slice(0, begin + BEGIN.length)}\n${table}\n${text.slice(end)}`;
  if (updated !== text) {
    writeFileSync(file, updated);
  }
}
