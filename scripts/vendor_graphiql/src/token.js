// The token: taken from the address's fragment (which never leaves the browser), removed from the
// address bar at once, kept for this browser tab only, and told to whoever listens when it changes.

const KEY = "maestro-composer:token";
const listeners = new Set();

export function takeTokenFromAddress() {
  const fragment = new URLSearchParams(window.location.hash.slice(1));
  const token = fragment.get("token");
  if (token === null) return;
  fragment.delete("token");
  const rest = fragment.toString();
  const address = window.location.pathname + window.location.search + (rest ? `#${rest}` : "");
  window.history.replaceState(null, "", address);
  setToken(token);
}

export function getToken() {
  return window.sessionStorage.getItem(KEY) ?? "";
}

export function setToken(token) {
  // People paste whole headers; what counts is the token.
  const bare = token.trim().replace(/^Bearer\s+/i, "");
  if (bare === getToken()) return;
  if (bare) window.sessionStorage.setItem(KEY, bare);
  else window.sessionStorage.removeItem(KEY);
  for (const listener of listeners) listener();
}

export function onTokenChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// What the token says about its bearer, for display only: the server is who verifies it.
export function readClaims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return claims && typeof claims === "object" ? claims : null;
  } catch {
    return null;
  }
}
