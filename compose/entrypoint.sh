#!/bin/sh
# numba reads what it has compiled only where it may write too: of the image's read-only copy it gets one in memory
cp -R /opt/qnetem/numba "$NUMBA_CACHE_DIR" 2>/dev/null
exec "$@"
