// Composes a supergraph configuration in rover's format, with the reference library and an independent one.
// Usage: node compose.mjs ../../supergraph.yaml [supergraph.graphql [--without-access]]. Prints one line per library; exit
// code 1 when one refuses. The second argument names a file for the supergraph that the reference library made;
// `--without-access` leaves @authenticated and @requiresScopes out of it, for gateways that take no graph that has them.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { composeServices as composeReference } from "@apollo/composition";
import { composeServices as composeIndependent } from "@theguild/federation-composition";
import { parse, visit } from "graphql";
import { parse as parseYaml } from "yaml";

const [input = "supergraph.yaml", output, flag] = process.argv.slice(2);
const path = resolve(input);
const config = parseYaml(readFileSync(path, "utf8"));
const wanted = String(config.federation_version);
if (!/^=2\.\d+\.\d+$/.test(wanted)) {
  console.error(`${path}: federation_version must pin a release, e.g. "=2.9.3"; found ${wanted}`);
  process.exit(1);
}
const services = Object.entries(config.subgraphs).map(([name, subgraph]) => ({
  name,
  url: subgraph.routing_url,
  typeDefs: read(resolve(dirname(path), subgraph.schema.file)),
}));

function read(file) {
  const document = parse(readFileSync(file, "utf8"));
  if (flag !== "--without-access") return document;
  const isAccess = (node) => ["authenticated", "requiresScopes"].includes(node.name.value);
  return visit(document, { Directive: (node) => (isAccess(node) ? null : undefined) });
}

let refused = false;
for (const [library, compose] of [
  ["@apollo/composition", composeReference],
  ["@theguild/federation-composition", composeIndependent],
]) {
  const { errors = [], hints = [], supergraphSdl } = compose(services);
  for (const error of errors) console.error(`${library}: ${error.extensions?.code ?? "ERROR"}: ${error.message}`);
  for (const hint of hints) console.error(`${library}: hint: ${hint.message ?? hint}`);
  if (errors.length || !supergraphSdl) refused = true;
  else if (output && library === "@apollo/composition") writeFileSync(output, supergraphSdl);
  if (!errors.length && supergraphSdl) console.log(`${library}: composed ${services.length} subgraph(s), ${supergraphSdl.length} characters`);
}
process.exit(refused ? 1 : 0);
