#!/bin/sh
# Install the pinned torch into the environment whose bin folder is $1: the CPU build where there is no NVIDIA GPU, or
# what $2 says, cpu or cuda: images are built on other machines than those that run them.
# On Linux the package index's own wheel brings gigabytes of CUDA libraries, so the CPU wheel is asked for by name; where
# no configured index has it, uv knows where PyTorch publishes it.
set -eu
bin=$1
accelerator=${2:-found}
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
[ -n "$version" ] || { echo "constraints.txt does not pin torch" >&2; exit 1; }

case $accelerator in
    found) if nvidia-smi >/dev/null 2>&1; then accelerator=cuda; else accelerator=cpu; fi ;;
    cpu | cuda) ;;
    *) echo "torch is built for cpu or cuda, not $accelerator" >&2; exit 1 ;;
esac
if [ "$(uname -s)" != Linux ] || [ "$accelerator" = cuda ]; then
    exec "$bin/pip" install --quiet "torch==$version"
fi
if "$bin/pip" install --quiet "torch==$version+cpu" 2>/dev/null; then
    exit 0
fi
"$bin/pip" install --quiet uv
exec "$bin/uv" pip install --quiet --python "$bin/python" --torch-backend cpu "torch==$version"
