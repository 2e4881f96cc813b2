// Hive Gateway over a supergraph: node hive.mjs SUPERGRAPH; prints two addresses, then serves until it is ended. The second
// gateway watches our subscriptions over the WebSocket, the first one over server-sent events.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createGatewayRuntime } from '@graphql-hive/gateway-runtime';

const supergraph = readFileSync(process.argv[2], 'utf8');
const shared = {
  supergraph,
  logging: false,
  landingPage: false,
  demandControl: { includeExtensionMetadata: true },
  propagateHeaders: {
    fromClientToSubgraphs: ({ request }) => ({ authorization: request.headers.get('authorization') }),
  },
};
const overSocket = {
  transportEntries: {
    maestro: {
      options: {
        subscriptions: {
          kind: 'ws',
          location: '/graphql',
          options: { connectionParams: { authorization: '{context.headers.authorization}' } },
        },
      },
    },
  },
};

function serve(options) {
  const server = createServer(createGatewayRuntime(options));
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
}

const ports = await Promise.all([serve(shared), serve({ ...shared, ...overSocket })]);
console.log(ports.map((port) => `http://127.0.0.1:${port}/graphql`).join(' '));
