// What both scripts share: an open loop of 200 a second, the thresholds, one request.
import http from "k6/http";

export function options(name, thresholds = {}) {
  return {
    scenarios: {
      [name]: {
        executor: "constant-arrival-rate",
        rate: Number(__ENV.RATE || 200),
        timeUnit: "1s",
        duration: __ENV.DURATION || "30s",
        preAllocatedVUs: 50,
        maxVUs: 400,
      },
    },
    thresholds: {
      http_req_duration: ["p(95)<300"],
      http_req_failed: ["rate<0.01"],
      checks: ["rate>0.99"],
      ...thresholds,
    },
  };
}

export function ask(query, variables) {
  const answer = http.post(`${__ENV.MC_URL}/graphql`, JSON.stringify({ query, variables }), {
    headers: {
      Authorization: `Bearer ${__ENV.MC_TOKEN}`,
      "Content-Type": "application/json",
    },
  });
  return answer.status === 200 ? answer.json().data : null;
}
