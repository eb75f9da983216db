// Prints the Postman collection (v2.1) of an OpenAPI document, the same each time:
//
//   npm ci --ignore-scripts && node postman.mjs ../../openapi/openapi.json > ../../clients/partita.postman_collection.json
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { promisify } from "node:util";

// What the document leaves open is made up by chance, so chance is made the same each time (mulberry32).
let state = 1;
Math.random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

const require = createRequire(process.env.PARTITA_CLIENTS_NODE ? `${process.env.PARTITA_CLIENTS_NODE}/` : import.meta.url);
const converter = require("openapi-to-postmanv2");
const options = {
  folderStrategy: "Tags",
  parametersResolution: "Example",
  includeAuthInfoInExample: false,
};

const data = readFileSync(process.argv[2], "utf8");
const { result, reason, output } = await promisify(converter.convertV2.bind(converter))({ type: "string", data }, options);
if (!result) throw new Error(reason);
const collection = output[0].data;

/** An id that stays while the place that it names does. */
function idOf(place) {
  const hex = createHash("sha256").update(place).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

// What the collection calls an operation, its summary, and the statuses whose answers the document gives an example of.
const operations = Object.values(JSON.parse(data).paths).flatMap((path) => Object.values(path));
const exemplified = new Map(
  operations.map(({ summary, responses }) => {
    const given = Object.entries(responses).filter(([, { content = {} }]) => content["application/json"]?.example);
    return [summary, given.map(([status]) => Number(status))];
  }),
);

function settle(item, place) {
  if (item.id) item.id = idOf(place);
  // An answer made up by chance teaches nothing.
  if (item.response) item.response = item.response.filter(({ code }) => exemplified.get(item.name).includes(code));
  // All that stands in a query or a header of its own is optional, so it is there to be switched on.
  const { url, header = [] } = item.request ?? item.originalRequest ?? {};
  for (const option of url?.query ?? []) option.disabled = true;
  for (const option of header) if (!["Accept", "Content-Type"].includes(option.key)) option.disabled = true;
  for (const child of [...(item.item ?? []), ...(item.response ?? [])]) settle(child, `${place}/${child.name}`);
}

settle(collection, "partita");
collection.info._postman_id = idOf("partita");
// The document's server is whatever serves it; Postman needs one.
collection.variable = [
  { key: "baseUrl", value: "http://127.0.0.1:8080" },
  { key: "bearerToken", value: "" },
];
console.log(JSON.stringify(collection, null, 2));
