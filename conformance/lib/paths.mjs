import path from "node:path";
import { fileURLToPath } from "node:url";

export const conformance = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
export const workspace = path.dirname(conformance);
export const cache = path.join(conformance, ".cache");
export const artifacts = path.join(conformance, ".artifacts");

export const npmPackage = (name) => path.join(conformance, "node_modules", name);
export const venvPython = (name) => path.join(cache, "python", name, "bin", "python");
