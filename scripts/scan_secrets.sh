#!/bin/sh
# Looks for secrets in everything that git knows. What is none, though it looks like one, stands in .secrets.baseline.
# `sh scripts/scan_secrets.sh --update` accepts what is found now: look at the change of the baseline before you commit it.
set -eu
cd "$(dirname "$0")/.."
skip='(^|/)(package-lock\.json|trusted_documents\.json|.*\.(zip|sig|manifest\.json))$|^requirements/.*\.txt$|^\.secrets\.baseline$|^schema\.graphql$'

if [ "${1:-}" = "--update" ]; then
    .venv/bin/detect-secrets scan --exclude-files "$skip" > .secrets.baseline.new
    mv .secrets.baseline.new .secrets.baseline
    echo "baseline written: $(grep -c '"hashed_secret"' .secrets.baseline || true) accepted findings"
    exit 0
fi
# The hook rewrites line numbers in the baseline it is given, and then ends with 3; it gets a copy, so that scanning changes
# nothing, and lines that have moved are no finding.
copy=$(mktemp)
trap 'rm -f "$copy"' EXIT
cp .secrets.baseline "$copy"
git ls-files -z | grep -zEv "$skip" \
    | xargs -0 sh -c '.venv/bin/detect-secrets-hook "$@" || [ $? -eq 3 ]' hook --baseline "$copy" --exclude-files "$skip"
echo "no secret found"
