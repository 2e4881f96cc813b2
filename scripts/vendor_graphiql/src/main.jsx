// The page: GraphiQL with the ready tabs, the explorer and the token strip. It talks to its own
// address only, which its Content-Security-Policy enforces.

import "./workers.js";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./page.css";
import { explorerPlugin } from "@graphiql/plugin-explorer";
import { HISTORY_PLUGIN } from "@graphiql/plugin-history";
import { GraphiQL } from "graphiql";
import { createRoot } from "react-dom/client";
import { createFetcher } from "./fetcher.js";
import { TokenBar } from "./TokenBar.jsx";
import { takeTokenFromAddress } from "./token.js";

// Beside the archive, not in it, so that changing a tab needs no build.
const TABS = "../tabs.json";
// What the variables editor accepts for our JSON scalar: any JSON value.
const SCALARS = {
  JSON: { type: ["object", "array", "string", "number", "boolean", "null"] },
};
const STORAGE_PREFIX = "maestro-composer:";

// GraphiQL keeps its tabs in localStorage, which belongs to the whole origin; a prefix keeps them
// apart from what other pages of this server keep there.
const storage = {
  getItem: (key) => window.localStorage.getItem(STORAGE_PREFIX + key),
  setItem: (key, value) => window.localStorage.setItem(STORAGE_PREFIX + key, value),
  removeItem: (key) => window.localStorage.removeItem(STORAGE_PREFIX + key),
  clear() {
    for (const key of Object.keys(window.localStorage)) {
      if (key.startsWith(STORAGE_PREFIX)) window.localStorage.removeItem(key);
    }
  },
  get length() {
    return Object.keys(window.localStorage).filter((key) => key.startsWith(STORAGE_PREFIX)).length;
  },
};

function resetTabs() {
  storage.clear();
  window.location.reload();
}

async function readyTabs() {
  const answer = await window.fetch(new URL(TABS, import.meta.url));
  if (!answer.ok) throw new Error(`The ready tabs could not be read: HTTP ${answer.status}`);
  return answer.json();
}

async function start() {
  takeTokenFromAddress();
  window.addEventListener("hashchange", takeTokenFromAddress);
  const root = createRoot(document.getElementById("graphiql"));
  const tabs = await readyTabs();
  root.render(
    <GraphiQL
      fetcher={createFetcher()}
      storage={storage}
      defaultTabs={tabs}
      defaultEditorToolsVisibility="variables"
      plugins={[HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })]}
      customScalarSchemas={SCALARS}
      inputValueDeprecation
      schemaDescription
    >
      <GraphiQL.Logo>
        <TokenBar onReset={resetTabs} />
      </GraphiQL.Logo>
    </GraphiQL>,
  );
}

start().catch((error) => {
  document.getElementById("graphiql").textContent = error.message;
});
