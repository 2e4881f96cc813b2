// How an operation leaves the page: queries and mutations by HTTP POST, subscriptions over the
// graphql-transport-ws protocol, both to the page's own address and both with the token.

import { createGraphiQLFetcher, isObservable } from "@graphiql/toolkit";
import { Kind, parse } from "graphql";
import { createClient } from "graphql-ws";
import { getToken } from "./token.js";

const LAST = "last-started";
const LAST_KEY = "maestro-composer:last-started";
const MAX_SHOWN = 500;

export function createFetcher() {
  const url = window.location.pathname;
  const overHttp = createGraphiQLFetcher({
    url,
    enableIncrementalDelivery: false,
    fetch: (input, init) => window.fetch(input, { ...init, credentials: "same-origin" }),
  });
  return async (params, options = {}) => {
    const headers = withToken(options.headers);
    const operation = chosenOperation(params);
    const filled = {
      ...params,
      operationName: operation?.name?.value ?? params.operationName,
      variables: fillLastStarted(params.variables),
    };
    if (operation?.operation === "subscription") return watch(url, filled, headers);
    const result = await overHttp(filled, { ...options, headers });
    rememberStarted(result);
    return result;
  };
}

// The headers editor wins over the token field, so that one request can go out as somebody else.
function withToken(headers = {}) {
  const given = Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
  const token = getToken();
  return given || !token ? headers : { ...headers, Authorization: `Bearer ${token}` };
}

// Read from the text itself: right after a change of tabs GraphiQL still names the operation of the
// tab before. A text that does not parse goes out as it is, for the server to say what is wrong.
function chosenOperation({ query, operationName }) {
  let document;
  try {
    document = parse(query);
  } catch {
    return undefined;
  }
  const operations = document.definitions.filter(
    (definition) => definition.kind === Kind.OPERATION_DEFINITION,
  );
  return operations.find((operation) => operation.name?.value === operationName) ?? operations[0];
}

// One socket per subscription: it lives as long as the answer is watched, with today's token.
// GraphiQL shows one answer at a time, so the events are gathered, the newest on top.
async function* watch(url, params, headers) {
  const address = new URL(url, window.location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const client = createClient({
    url: address.href,
    retryAttempts: 0,
    connectionParams: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
    ),
  });
  const gathered = [];
  let received = 0;
  try {
    for await (const result of client.iterate(params)) {
      received += 1;
      gathered.unshift(result);
      gathered.length = Math.min(gathered.length, MAX_SHOWN);
      yield { received, newestFirst: [...gathered] };
    }
    yield { received, complete: true, newestFirst: gathered };
  } catch (failure) {
    throw readable(failure);
  } finally {
    client.dispose();
  }
}

function readable(failure) {
  if (failure instanceof CloseEvent) {
    const reason = failure.reason || "the server gave no reason";
    return complaint(`The subscription's socket was closed with code ${failure.code}: ${reason}`);
  }
  if (Array.isArray(failure)) return complaint(failure.map((error) => error.message).join("\n"));
  return complaint(failure instanceof Error ? failure.message : "The subscription's socket failed.");
}

// GraphiQL prints an error's stack beside its message; the stack of a bundle helps nobody.
function complaint(message) {
  const error = new Error(message);
  delete error.stack;
  return error;
}

// "last-started" as a variable stands for the execution that this browser tab started last, so
// that watching it takes no copying of ids.
function fillLastStarted(variables) {
  if (!variables || !Object.values(variables).includes(LAST)) return variables;
  const id = window.sessionStorage.getItem(LAST_KEY);
  if (!id) {
    throw complaint(
      `No execution was started on this page yet: run StartOrder first, or write an id instead of "${LAST}".`,
    );
  }
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [name, value === LAST ? id : value]),
  );
}

function rememberStarted(result) {
  if (!result || isObservable(result)) return;
  const id = result.data?.enqueueExecution?.execution?.id;
  if (typeof id === "string") window.sessionStorage.setItem(LAST_KEY, id);
}
