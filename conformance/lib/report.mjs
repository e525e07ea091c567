/** What became of every case of one suite. Prints each as it is known. */
export class Report {
  constructor(suite) {
    this.suite = suite;
    this.cases = [];
  }

  pass(name, detail) {
    this.#add("passed", name, detail);
  }

  fail(name, error) {
    this.#add("failed", name, error?.message ?? String(error));
  }

  skip(name, reason) {
    this.#add("skipped", name, reason);
  }

  /** Runs one case. A case that fails does not keep the others from running. */
  async run(name, body) {
    try {
      const result = await body();
      this.pass(name);
      return result;
    } catch (error) {
      this.fail(name, error);
    }
  }

  count(outcome) {
    return this.cases.filter((it) => it.outcome === outcome).length;
  }

  get ok() {
    return this.count("failed") === 0;
  }

  #add(outcome, name, detail) {
    this.cases.push({ outcome, name, detail });
    const mark = { passed: "ok     ", failed: "FAILED ", skipped: "SKIPPED" }[outcome];
    console.log(
      `${mark} ${this.suite}: ${name}${detail ? `\n        ${detail.replaceAll("\n", "\n        ")}` : ""}`,
    );
  }
}

const OUTCOMES = ["passed", "failed", "skipped"];

/** The table of all suites and, alone on the last line, the sums. Returns the exit code. */
export function summarize(reports) {
  const rows = reports.map((report) => [report.suite, ...OUTCOMES.map((it) => String(report.count(it)))]);
  const table = [["suite", ...OUTCOMES], ...rows];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  console.log();
  for (const row of table) {
    console.log(
      row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[0]))).join("  "),
    );
  }
  console.log();
  console.log(
    OUTCOMES.map((it) => `${reports.reduce((sum, report) => sum + report.count(it), 0)} ${it}`).join(", "),
  );
  return reports.every((report) => report.ok) ? 0 : 1;
}
