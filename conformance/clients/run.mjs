#!/usr/bin/env node
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Report, summarize } from "../lib/report.mjs";
import { binaries } from "../lib/server.mjs";
import { runClients, withServers } from "./clients.mjs";
import { markdown, writeTable } from "./matrix.mjs";

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    only: { type: "string", multiple: true },
    json: { type: "string" },
    table: { type: "string", multiple: true },
  },
});

if (values.only && values.table) {
  throw new Error("--table wants all cells");
}
const atServers = async (body) =>
  values.url
    ? body({ default: values.url })
    : withServers((await binaries(["conformance-server"]))["conformance-server"], body);
const report = new Report("clients");
const results = await atServers((urls) => runClients({ report, urls, only: values.only }));

const table = markdown(results);
console.log(`\n${table}`);
if (values.json) {
  const rows = results.map(({ cell, failed }) => ({ cell: cell.name, client: cell.client, failed }));
  writeFileSync(values.json, `${JSON.stringify({ cells: rows, cases: report.cases }, null, 2)}\n`);
}
values.table?.forEach((file) => writeTable(file, table));
process.exitCode = summarize([report]);
