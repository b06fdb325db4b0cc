#!/usr/bin/env bash
# Train on several processes of one machine, or of each of several machines.
#   bash tools/dist_train.sh CONFIG GPUS [arguments of train.py]
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 bash tools/dist_train.sh CONFIG 8
# Without a GPU the processes run on the CPU (gloo). PORT, PYTHON: what they say.
set -e
if [ $# -lt 2 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
TOOLS=$(dirname "$0")

"${PYTHON:-python}" "$TOOLS/torchrun.py" \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$GPUS" \
    "$TOOLS/train.py" "$CONFIG" --launcher pytorch "${@:3}"
