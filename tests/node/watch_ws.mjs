// One subscription by the reference client of graphql-transport-ws: node watch_ws.mjs URL TOKEN QUERY VARIABLES
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, token, query, variables] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  retryAttempts: 0,
  connectionParams: { authorization: `Bearer ${token}` },
});
for await (const result of client.iterate({ query, variables: JSON.parse(variables) })) {
  console.log(JSON.stringify(result));
}
await client.dispose();
