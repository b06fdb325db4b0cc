#!/usr/bin/env bash
# Evaluate on several processes of one machine, or of each of several machines.
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 bash tools/dist_test.sh CONFIG CKPT 8
# Without a GPU the processes run on the CPU (gloo). PORT, PYTHON: what they say.
set -e
if [ $# -lt 3 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
TOOLS=$(dirname "$0")

"${PYTHON:-python}" "$TOOLS/torchrun.py" \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$GPUS" \
    "$TOOLS/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
