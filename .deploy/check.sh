#!/bin/sh
# See that what is in .deploy holds together; $1 is the bin folder of an environment with the extra `dev`.
set -eu
bin=$1
here=$(dirname "$0")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$bin/yamllint" --strict -c "$here/yamllint.yaml" "$here"
"$bin/hadolint" --failure-threshold warning "$here/Dockerfile"
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec "$here/compose.yaml"
"$bin/check-jsonschema" --builtin-schema vendor.github-workflows "$here"/../.github/workflows/*.yml
for overlay in base cuda ray; do
    "$bin/kubectl" kustomize "$here/kubernetes/$overlay" > "$scratch/$overlay.yaml"
    "$bin/kubernetes-validate" --strict --quiet --no-warn "$scratch/$overlay.yaml"
done
if command -v systemd-analyze >/dev/null 2>&1; then
    for unit in "$here"/systemd/*.service; do
        # The program is where a host has it, which need not be this one.
        sed 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' "$unit" > "$scratch/$(basename "$unit")"
        systemd-analyze verify "$scratch/$(basename "$unit")"
        systemd-analyze security --offline=true --threshold=20 "$unit" > "$scratch/security" || {
            cat "$scratch/security" >&2
            exit 1
        }
    done
else
    echo 'Without systemd-analyze the units are not checked.' >&2
fi
