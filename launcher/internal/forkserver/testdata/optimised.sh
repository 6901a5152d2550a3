#!/bin/sh
exec "$REAL_PYTHON" -O -X utf8 "$@"
