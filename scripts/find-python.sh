#!/bin/sh
# Prints the interpreter to build .venv with: the first of the candidates that is Python 3.11 or newer and has venv.
# PYTHON, when set, is the only candidate. A pyenv shim whose version is not switched on fails here and is passed over.
if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3.11 python3.12 python3.13 python3; fi

for candidate; do
    if found=$("$candidate" -c '
import ensurepip, sys, venv
if sys.version_info < (3, 11):
    sys.exit(1)
print(sys.executable)' 2>/dev/null); then
        printf '%s\n' "$found"
        exit 0
    fi
done

echo "error: no Python >= 3.11 with venv among: $*; install one (Debian: python3 and python3-venv), or give PYTHON=/path/to/python" >&2
exit 1
