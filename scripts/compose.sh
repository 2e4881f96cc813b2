#!/bin/sh
# Composes supergraph.yaml with real composition libraries. Without Node.js it says so by name (exit code 77): composing is
# a check of the graph for gateways, not a need of the product. CI has Node.js and installs the packages. Runs rover too
# when it is on PATH.
set -eu
cd "$(dirname "$0")/compose"
if ! command -v node >/dev/null 2>&1; then
  echo "skipped: composition (node not found)"
  exit 77
fi
if [ ! -d node_modules/@apollo/composition ]; then
  if [ "${1:-}" = "--install" ] && command -v npm >/dev/null 2>&1; then
    npm ci --silent --no-progress
  else
    echo "skipped: composition (packages of scripts/compose not installed: npm ci --prefix scripts/compose)"
    exit 77
  fi
fi
node compose.mjs ../../supergraph.yaml
if command -v rover >/dev/null 2>&1; then
  rover supergraph compose --elv2-license accept --config ../../supergraph.yaml >/dev/null
  echo "rover: composed supergraph.yaml"
fi
