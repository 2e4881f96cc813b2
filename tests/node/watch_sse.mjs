// One subscription by the reference client of GraphQL over SSE: node watch_sse.mjs URL TOKEN QUERY VARIABLES [MOST]
import { createClient } from 'graphql-sse';

const [url, token, query, variables, most] = process.argv.slice(2);
const client = createClient({ url, retryAttempts: 0, headers: { authorization: `Bearer ${token}` } });
let seen = 0;
for await (const result of client.iterate({ query, variables: JSON.parse(variables) })) {
  console.log(JSON.stringify(result));
  if (++seen === Number(most)) break;
}
client.dispose();
