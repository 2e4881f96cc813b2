#!/bin/sh
# Compiles requirements/*.in to *.txt: pinned, with the hashes of every platform's files, and no address in them.
# Pins stay as they are unless asked: `make lock`, or `make lock UPGRADE=1`, or `make lock UPGRADE=name`.
set -eu
cd "$(dirname "$0")/.."

case "${UPGRADE:-}" in
"") set -- ;;
1) set -- --upgrade ;;
*) set -- --upgrade-package "$UPGRADE" ;;
esac

for name in runtime test; do
    uv=.venv/bin/uv
    [ -x "$uv" ] || uv=uv
    "$uv" pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
        --python-version 3.11 "$@" "requirements/$name.in" --output-file "requirements/$name.txt"
    if grep -n '://' "requirements/$name.txt"; then
        echo "requirements/$name.txt names an address; take that package from an index by name" >&2
        exit 1
    fi
done
