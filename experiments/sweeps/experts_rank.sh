#!/usr/bin/env bash
# Expert count against rank, which is shared out among the experts; three seeds.
# Finished members are left alone and killed ones go on. More words go to every member: hydra/launcher=joblib, logger=wandb.
set -euo pipefail
cd "$(dirname "$0")/../.."
"${PYTHON:-.venv/bin/python}" -m coin_lightning -m +experiment=moelora_llava experiment_name=sweep_experts_rank adapter.num_experts=1,2,4,8 adapter.rank=8,16,32 seed=0,1,2 "$@"
