export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Fails when `promise` takes longer than `ms`. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again until `question` answers with something true; fails after `ms`. */
export async function until(ms, what, question) {
  const deadline = Date.now() + ms;
  for (;;) {
    const answer = await question();
    if (answer) {
      return answer;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what}: not within ${ms} ms`);
    }
    await sleep(20);
  }
}
