// The other end of the conversation with the test: its task, and a browser in which a person signs in.

import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value);

export const task = await read();

// Opens a URL. The answer has `url` and `form` if the browser left the server, else the `status` of a page.
export async function browse(url, options = {}) {
  console.log(JSON.stringify({ ask: { open: url.href ?? url, ...options } }));
  return read();
}

export const alice = { as: "alice" };

// What an application receives: a URL, or a request with a form.
export function received({ url, form }) {
  if (!form) return new URL(url);
  const body = new URLSearchParams(form);
  return new Request(url, { method: "POST", body });
}

export function finish(result) {
  console.log(JSON.stringify(result));
  process.stdin.destroy();
}

// The code of the error with which a library or the server refuses.
export const refusal = (promise) =>
  promise.then(
    () => null,
    (error) => error.error ?? error.code ?? Promise.reject(error),
  );
