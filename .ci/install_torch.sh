#!/bin/sh
# Install the pinned torch into the environment whose bin folder is $1: the CPU build where there is no NVIDIA GPU.
# On Linux the package index's own wheel brings gigabytes of CUDA libraries, so the CPU wheel is asked for by name; where
# no configured index has it, uv knows where PyTorch publishes it.
set -eu
bin=$1
version=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
[ -n "$version" ] || { echo "constraints.txt does not pin torch" >&2; exit 1; }

if [ "$(uname -s)" != Linux ] || nvidia-smi >/dev/null 2>&1; then
    exec "$bin/pip" install --quiet "torch==$version"
fi
if "$bin/pip" install --quiet "torch==$version+cpu" 2>/dev/null; then
    exit 0
fi
"$bin/pip" install --quiet uv
exec "$bin/uv" pip install --quiet --python "$bin/python" --torch-backend cpu "torch==$version"
