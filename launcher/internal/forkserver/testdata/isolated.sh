#!/bin/sh
exec "$REAL_PYTHON" -I "$@"
