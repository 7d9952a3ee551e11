#!/usr/bin/env bash
# Runs the tests of the crates named in the arguments (cargo's own: --workspace, -p NAME): under nextest, which
# runs them in parallel and closes with a summary, and the examples in the documentation, which nextest cannot run.
set -euo pipefail
cd "$(dirname "$0")/.."

# Verilator as tools/setup-hw.sh installed it, unless the caller has one in mind.
if [ -z "${VERILATOR:-}${VERILATOR_ROOT:-}" ] && [ -f target/hw-venv/env ]; then
  # shellcheck source=/dev/null
  . target/hw-venv/env
fi

if cargo nextest --version >/dev/null 2>&1; then
  cargo test --quiet --locked --doc "$@"
  cargo nextest run --locked --no-fail-fast "$@"
else
  cargo test --locked --no-fail-fast "$@"
fi
