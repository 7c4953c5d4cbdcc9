#!/usr/bin/env bash
# A study on four nodes of a Slurm cluster: sbatch examples/cluster/slurm.sh
# Every node needs the same vaelab and Ray: pip install 'vaelab[ray]' into an environment that all nodes see.
#SBATCH --job-name=vaelab
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
# For GPUs: add `#SBATCH --gpus-per-node=4`, and below `--gpus-per-worker 1` and `--device cuda`.
set -euo pipefail

STUDY=${STUDY:-runs/digits-slurm}
DATA=${DATA:-digits}
TRIALS=${TRIALS:-1000}

# After a time limit or a lost head node the same script continues the study.
if [ -e "$STUDY/config.toml" ]; then
  command=(vaelab tune --resume "$STUDY" --ray auto)
else
  command=(vaelab tune "$DATA" --trials "$TRIALS" --figures best --out "$STUDY" --ray auto)
fi

# The first node is the head, where the study itself runs; Ray starts on all nodes, and ends with the study.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
  ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" -- "${command[@]}"
