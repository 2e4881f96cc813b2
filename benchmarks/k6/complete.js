// 200 executions a second over GraphQL: enqueue, then ask until completed. The duration that counts is the whole of it.
import { check, sleep } from "k6";
import { Trend } from "k6/metrics";
import { ask, options as shared } from "./graph.js";

const whole = new Trend("enqueue_to_completed", true);

export const options = shared("complete", { enqueue_to_completed: ["p(95)<300"] });

const ENQUEUE = `mutation Enqueue($input: EnqueueExecutionInput!) {
  enqueueExecution(input: $input) { created execution { id status } errors { code message } } }`;
const STATUS = `query Status($id: ID!) { execution(id: $id) { status } }`;

export default function complete() {
  const begin = Date.now();
  const answer = ask(ENQUEUE, { input: { workflowName: __ENV.WORKFLOW } });
  const execution = answer && answer.enqueueExecution.execution;
  let status = execution ? execution.status : "LOST";
  while (execution && ["QUEUED", "RUNNING"].includes(status) && Date.now() - begin < 5000) {
    sleep(0.02);
    const found = ask(STATUS, { id: execution.id });
    status = found && found.execution ? found.execution.status : "LOST";
  }
  whole.add(Date.now() - begin);
  check(status, { completed: (last) => last === "COMPLETED" });
}
