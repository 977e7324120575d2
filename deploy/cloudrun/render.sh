#!/usr/bin/env bash
# Fill in the manifests beside this file: render.sh DIRECTORY writes them there. The values come from the environment:
# IMAGE (with its digest), PROJECT_ID, PROJECT_NUMBER, REGION, NETWORK, SUBNET.
set -euo pipefail
names=(IMAGE PROJECT_ID PROJECT_NUMBER REGION NETWORK SUBNET)
target=${1:?"render.sh: say where to: render.sh DIRECTORY"}
for name in "${names[@]}"; do
    [[ -n ${!name:-} ]] || { echo "render.sh: set $name." >&2; exit 1; }
done
mkdir -p "$target"
for manifest in "$(dirname "$0")"/*.yaml; do
    text=$(<"$manifest")
    for name in "${names[@]}"; do
        text=${text//"\${$name}"/"${!name}"}
    done
    # The comments speak of `${…}`; a name in capitals is one that was forgotten above.
    if [[ $text =~ \$\{[A-Z_]+\} ]]; then
        echo "render.sh: $(basename "$manifest") has ${BASH_REMATCH[0]}, which nobody fills in." >&2
        exit 1
    fi
    printf '%s\n' "$text" >"$target/$(basename "$manifest")"
done
