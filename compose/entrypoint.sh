#!/bin/sh
# numba reads what it has compiled only where it may write too: of the image's read-only copy it gets one in memory
cp -R /opt/qnetem/numba "$NUMBA_CACHE_DIR" 2>/dev/null
# where nothing orders containers: the file whose being there says that all the others are
if [ -n "$QNETEM_AWAIT" ]; then
  left_s=300
  until [ -e "$QNETEM_AWAIT" ]; do
    if [ $((left_s -= 1)) -lt 0 ]; then
      echo "qnetem: $QNETEM_AWAIT: not there within 300 s: pki has not filled this volume" >&2
      exit 4
    fi
    sleep 1
  done
fi
# where it is to write its log, if not where the engine keeps it
if [ -n "$QNETEM_LOG" ]; then exec 2>>"$QNETEM_LOG"; fi
exec "$@"
