// Composes a supergraph configuration in rover's format, with the reference library and an independent one.
// Usage: node compose.mjs ../../supergraph.yaml. Prints one line per library; exit code 1 when one refuses.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { composeServices as composeReference } from "@apollo/composition";
import { composeServices as composeIndependent } from "@theguild/federation-composition";
import { parse } from "graphql";
import { parse as parseYaml } from "yaml";

const path = resolve(process.argv[2] ?? "supergraph.yaml");
const config = parseYaml(readFileSync(path, "utf8"));
const wanted = String(config.federation_version);
if (!/^=2\.\d+\.\d+$/.test(wanted)) {
  console.error(`${path}: federation_version must pin a release, e.g. "=2.9.3"; found ${wanted}`);
  process.exit(1);
}
const services = Object.entries(config.subgraphs).map(([name, subgraph]) => ({
  name,
  url: subgraph.routing_url,
  typeDefs: parse(readFileSync(resolve(dirname(path), subgraph.schema.file), "utf8")),
}));

let refused = false;
for (const [library, compose] of [
  ["@apollo/composition", composeReference],
  ["@theguild/federation-composition", composeIndependent],
]) {
  const { errors = [], hints = [], supergraphSdl } = compose(services);
  for (const error of errors) console.error(`${library}: ${error.extensions?.code ?? "ERROR"}: ${error.message}`);
  for (const hint of hints) console.error(`${library}: hint: ${hint.message ?? hint}`);
  if (errors.length || !supergraphSdl) refused = true;
  else console.log(`${library}: composed ${services.length} subgraph(s), ${supergraphSdl.length} characters`);
}
process.exit(refused ? 1 : 0);
