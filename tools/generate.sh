#!/usr/bin/env bash
# Generates api/cairnv1 from api/proto. Needs Go only; tool versions are pinned in tools/go.mod.
#   bash tools/generate.sh            write
#   bash tools/generate.sh --check    fail if what is there is not current
set -euo pipefail
cd "$(dirname "$0")"
case "${1:-}" in
  "") flag= ;;
  --check) flag=-check ;;
  *) echo "usage: $0 [--check]" >&2; exit 2 ;;
esac
go run ./protogen -root .. $flag
