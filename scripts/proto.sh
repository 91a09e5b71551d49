#!/usr/bin/env bash
# Regenerates qnetem/v1 from proto/. With --check: fails when what is checked in is not what proto/ says.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
target=.
if [ "${1:-}" = --check ]; then target=$(mktemp -d); trap 'rm -rf "$target"' EXIT; fi
"$python" -m grpc_tools.protoc -Iproto --plugin=protoc-gen-mypy="$(dirname "$python")/protoc-gen-mypy" \
  --plugin=protoc-gen-mypy_grpc="$(dirname "$python")/protoc-gen-mypy_grpc" \
  --python_out="$target" --grpc_python_out="$target" --mypy_out=quiet:"$target" --mypy_grpc_out=quiet:"$target" \
  proto/qnetem/v1/*.proto
if [ "$target" != . ]; then
  for file in "$target"/qnetem/v1/*; do cmp -s "$file" "qnetem/v1/$(basename "$file")" || { echo "stale: qnetem/v1/$(basename "$file"); run make proto" >&2; exit 1; }; done
fi
