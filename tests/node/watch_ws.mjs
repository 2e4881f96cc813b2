// One subscription by the reference client of graphql-transport-ws: node watch_ws.mjs URL TOKEN QUERY VARIABLES [MOST]
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, token, query, variables, most] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  retryAttempts: 0,
  connectionParams: { authorization: `Bearer ${token}` },
});
let seen = 0;
for await (const result of client.iterate({ query, variables: JSON.parse(variables) })) {
  console.log(JSON.stringify(result));
  if (++seen === Number(most)) break;
}
await client.dispose();
