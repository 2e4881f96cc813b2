// The strip at the top right: whose token is in use, a field to change it, the way back to the
// ready tabs. It sits in GraphiQL's logo slot, so it may ask GraphiQL to read the schema again.

import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { getToken, onTokenChange, readClaims, setToken } from "./token.js";

function describe(token) {
  if (!token) return "No token";
  const claims = readClaims(token);
  if (!claims) return "Token";
  return [claims.sub, claims.tenant].filter((part) => typeof part === "string").join(" · ") || "Token";
}

export function TokenBar({ onReset }) {
  const token = useSyncExternalStore(onTokenChange, getToken);
  const { introspect } = useGraphiQLActions();
  const failed = useGraphiQL((state) => Boolean(state.fetchError));
  const [isOpen, setIsOpen] = useState(!token);
  const [draft, setDraft] = useState(token);
  const seen = useRef(token);

  useEffect(() => {
    if (seen.current === token) return;
    seen.current = token;
    setDraft(token);
    introspect();
  }, [token, introspect]);

  function submit(event) {
    event.preventDefault();
    setToken(draft);
    setIsOpen(false);
  }

  return (
    <div className="mc-bar">
      {isOpen ? (
        <form className="mc-token" onSubmit={submit}>
          <input
            type="password"
            aria-label="Bearer token"
            placeholder="Paste a token: mc token create"
            autoComplete="off"
            spellCheck={false}
            value={draft}
            onChange={(event) => setDraft(event.target.value)}
          />
          <button type="submit">Use</button>
        </form>
      ) : (
        <button
          type="button"
          className="mc-who"
          data-state={token && !failed ? "ok" : "missing"}
          title="Change the token (sent as Authorization: Bearer …)"
          onClick={() => setIsOpen(true)}
        >
          {describe(token)}
        </button>
      )}
      <button type="button" className="mc-reset" title="Bring the ready tabs back" onClick={onReset}>
        Ready tabs
      </button>
      <span className="mc-brand">Maestro Composer</span>
    </div>
  );
}
