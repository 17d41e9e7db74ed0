#!/usr/bin/env bash
# All that needs a GPU, in 25 minutes at most: tests, overhead and memory at full patch size, a long training.
#
#     scripts/benchmarks/on_gpu.sh HIPPOCAMPUS [OUT]
#
# HIPPOCAMPUS is the data of hippocampus.py. OUT (build/gpu) gets logs, benchmarks.md and benchmarks/*.json: copy these
# to docs/benchmarks, then run page.py. A step over its time is ended, and the next begins. DEVICE=cpu QUICK=--quick
# shows in some minutes that it runs, on any machine. Where nothing can be downloaded, wheels made elsewhere by
# `pip wheel --wheel-dir WHEELS '.[v2,dev]'` can be installed by `pip install --no-index --find-links WHEELS ...`.
set -u
data=$(realpath "${1:?the folder of the hippocampus data}")
out=$(realpath -m "${2:-build/gpu}")
cd "$(dirname "$0")"
mkdir -p "$out"
failed=0

step() { # MINUTES NAME COMMAND...
    echo "$2: at most $1 minutes, log in $out/$2.log"
    timeout --kill-after=30s "$1m" "${@:3}" > "$out/$2.log" 2>&1
    local code=$?
    tail -n 4 "$out/$2.log" | sed 's/^/  /'
    case $code in
        0) echo "$2: done" ;;
        124 | 137) echo "$2: NOT FINISHED in its time"; failed=1 ;;
        *) echo "$2: FAILED, exit code $code"; failed=1 ;;
    esac
}

measured() { # MINUTES NAME OPTIONS...
    step "$1" "$2" python "$2.py" --docs "$out" --work "$out/$2" --device "${DEVICE:-cuda}" ${QUICK:+--quick} "${@:3}"
}

step 2.5 tests python -m pytest -q -m cuda ../../tests
measured 10 overhead $([ "${QUICK:-}" ] || echo --network planned --patch 128 --pairs 2)
measured 12.5 hippocampus --condition scanner --seeds 1 --arms uniform ours --longer 20 --data "$data" --processes 1
exit $failed
