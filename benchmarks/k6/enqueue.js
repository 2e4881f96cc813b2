// 200 enqueues a second over GraphQL, open loop. MC_URL and MC_TOKEN name the server; WORKFLOW what is enqueued.
import { check } from "k6";
import { ask, options as shared } from "./graph.js";

export const options = shared("enqueue");

const ENQUEUE = `mutation Enqueue($input: EnqueueExecutionInput!) {
  enqueueExecution(input: $input) { created execution { id } errors { code message } } }`;

export default function enqueue() {
  const answer = ask(ENQUEUE, { input: { workflowName: __ENV.WORKFLOW } });
  check(answer, { accepted: (data) => data && data.enqueueExecution.created });
}
