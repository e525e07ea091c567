export async function runFeatures() {}
