import { readFileSync, readdirSync } from "node:fs";

/** CPU time of a process's threads so far, in microseconds. */
export function cpu(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const times = threads.map((id) => readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]);
  return times.reduce((sum, nanoseconds) => sum + Number(nanoseconds) / 1_000, 0);
}

export const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
