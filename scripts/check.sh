#!/bin/sh
# All checks that need no server, each by name; goes on after a failure so that one run shows everything.
# What needs a tool that is not here is skipped by name.
cd "$(dirname "$0")/.." || exit 1
bin=.venv/bin
failed=""
tells=""
count=0

check() {
    name=$1
    shift
    output=$("$@" 2>&1)
    code=$?
    if [ "$code" -eq 0 ]; then
        count=$((count + 1))
        echo "ok    $name"
        [ -z "$tells" ] || echo "$output" | sed 's/^/      /'
    elif [ "$code" -eq 77 ]; then
        echo "skip  $name: $output"
    else
        failed="$failed $name"
        echo "FAIL  $name"
        echo "$output" | sed 's/^/      /'
    fi
}

check format "$bin/ruff" format --check --output-format concise .
check lint "$bin/ruff" check --output-format concise .
check types "$bin/mypy" .
check doors "$bin/lint-imports" --no-cache
check house "$bin/python" -m pytest -q -p no:randomly -p no:cacheprovider tests/unit/test_house.py
check schema "$bin/python" -m subgraph.print_schema --check
tells=yes
check changes env PYTHONPATH=. "$bin/python" scripts/schema_changes.py
tells=""
check reference env PYTHONPATH=. "$bin/python" scripts/make_reference.py --check
check documents env PYTHONPATH=. "$bin/python" scripts/make_trusted_documents.py --check
check composition sh scripts/compose.sh

set -- $failed
echo "$count passed, $# failed"
[ $# -eq 0 ]
