// Verifies the tokens of a JSON object on standard input with a recipe of docs/verifiers.md, which is verify.mjs beside
// this file. Prints for each name the claims, or null for a refused token.

import { json } from "node:stream/consumers";
import { verify } from "./verify.mjs";

const seen = {};
for (const [name, token] of Object.entries(await json(process.stdin))) {
  seen[name] = await verify(token).catch((error) => {
    console.error(name, "refused:", error.message);
    return null;
  });
}
console.log(JSON.stringify(seen));
