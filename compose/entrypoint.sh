#!/bin/sh
# numba reads what it has compiled only where it may write too: of the image's read-only copy it gets one in memory
cp -R /opt/qnetem/numba "$NUMBA_CACHE_DIR" 2>/dev/null
# where it is to write its log, if not where the engine keeps it
if [ -n "$QNETEM_LOG" ]; then exec 2>>"$QNETEM_LOG"; fi
exec "$@"
