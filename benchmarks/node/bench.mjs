// PostGraphile 5 on the engine's tables: processor milliseconds of one request of each shape, as JSON on standard output.
//
// node bench.mjs URL TENANT EXECUTION LARGE TIMES. It reads the views of schema `shown`, which benchmarks/graph.py makes, under row
// security, with the tenant set as the engine sets it. Documents are parsed and validated once, and there is no HTTP and no token:
// what is counted is planning (reused), execution, PostgreSQL's client, and the text of the answer.
import { execute, hookArgs } from "grafast";
import { parse, validate } from "graphql";
import { makeSchema } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const [url, tenant, execution, large, times] = process.argv.slice(2);
const ROUNDS = 5;
const ONE = "rowId status priority namespace generation createdAt startedAt finishedAt";
const STEPS = "steps { nodes { rowId stepKey type status attempt startedAt finishedAt duration } }";
const PAGE = `edges { node { ${ONE} ${STEPS} } } pageInfo { hasNextPage endCursor }`;
const QUERIES = {
  by_key: [`query($id: UUID!) { executionByRowId(rowId: $id) { ${ONE} } }`, { id: execution }],
  page: [`query($first: Int) { allExecutions(first: $first, orderBy: ROW_ID_DESC) { ${PAGE} } }`, { first: 50 }],
  steps: [`query($id: UUID!) { executionByRowId(rowId: $id) { rowId ${STEPS} } }`, { id: large }],
};

const { schema, resolvedPreset } = await makeSchema({
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ connectionString: url, schemas: ["shown"], pubsub: false })],
  grafast: { context: { pgSettings: { role: "mc_api", "mc.tenant": tenant } } },
});

async function ask(document, variableValues) {
  const args = { schema, document, variableValues, resolvedPreset, requestContext: {} };
  const answer = await execute(await hookArgs(args));
  if (answer.errors) throw new Error(answer.errors.join("; "));
  return JSON.stringify(answer);
}

async function milliseconds(document, variableValues, count) {
  // Until what is hot is compiled.
  for (let n = 0; n < Math.max(10, count); n++) await ask(document, variableValues);
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const began = process.cpuUsage();
    for (let n = 0; n < count; n++) await ask(document, variableValues);
    const { user, system } = process.cpuUsage(began);
    least = Math.min(least, (user + system) / count / 1000);
  }
  return least;
}

const found = {};
for (const [name, [text, variableValues]] of Object.entries(QUERIES)) {
  const document = parse(text);
  const errors = validate(schema, document);
  if (errors.length) throw new Error(`${name}: ${errors.join("; ")}`);
  const { data } = JSON.parse(await ask(document, variableValues));
  const rows = data.allExecutions?.edges.map((edge) => edge.node) ?? [data.executionByRowId];
  found[name] = {
    ms: await milliseconds(document, variableValues, Number(times) * (name === "by_key" ? 20 : 1)),
    executions: rows.length,
    steps: rows.reduce((sum, row) => sum + (row.steps?.nodes.length ?? 0), 0),
  };
}
console.log(JSON.stringify(found));
process.exit(0);
