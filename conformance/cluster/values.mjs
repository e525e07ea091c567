// JSON in which `{"$binary": "base64"}` stands for binary data.

const MARK = "$binary";

const isBinary = (value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);

const toBuffer = (value) =>
  value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);

/** A value with binary data as one that JSON can hold. */
export function encode(value) {
  if (value === undefined) {
    return null;
  }
  if (isBinary(value)) {
    return { [MARK]: toBuffer(value).toString("base64") };
  }
  if (Array.isArray(value)) {
    return value.map(encode);
  }
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, value]) => [key, encode(value)]));
  }
  return value;
}

/** The value back. */
export function decode(value) {
  if (Array.isArray(value)) {
    return value.map(decode);
  }
  if (value && typeof value === "object") {
    if (MARK in value) {
      return Buffer.from(value[MARK], "base64");
    }
    return Object.fromEntries(Object.entries(value).map(([key, value]) => [key, decode(value)]));
  }
  return value;
}

/** JSON with the members of objects in the order of their names, which means nothing. */
export const canonical = (value) =>
  JSON.stringify(value, (_, it) =>
    it && typeof it === "object" && !Array.isArray(it) ? Object.fromEntries(Object.entries(it).sort()) : it,
  );
