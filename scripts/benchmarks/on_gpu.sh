#!/usr/bin/env bash
# All that needs a GPU, part after part, each within its own time; also where nothing can be downloaded.
#
#     [HWS_ATLAS=ATLAS] scripts/benchmarks/on_gpu.sh run OUT [PART ...]     where this package and both nnU-Nets are
#     [HWS_ATLAS=ATLAS] scripts/benchmarks/on_gpu.sh pack FOLDER [3.12]     to take all along to another machine
#     FOLDER/on_gpu.sh run OUT [PART ...]                                   there, from a copy of FOLDER
#
# RUN goes through the parts below, or through those named. A part over its time is ended, what it measured until then
# is kept, and the next begins. OUT gets a log of each, benchmarks.md and benchmarks/*.json (copied to docs/benchmarks,
# page.py writes them into the page), and evaluations.jsonl, to which each training adds a line whenever it evaluates.
# HWS_DEVICE=cpu QUICK=--quick shows in minutes that all of it runs, on any machine; all it writes is in OUT/quick.
#
#     tests       at most 3 minutes: the tests that need a card
#     step        6 minutes: what a training step takes and needs, stock and ours in turn
#     v2, v1      4 minutes each: train, be killed, resume, validate and predict by nnU-Net's commands
#     torchrun    3 minutes: the same over NCCL, by one process and, where there are two cards, by two
#     trainings   9 minutes: six side by side on the atlas (see atlas.py), uniform and by hardness, three seeds each
#
# PACK needs this package and nnU-Net v2 installed, and pip's registry. FOLDER (50 MB) gets this script and one archive:
# the code, the atlas preprocessed, both nnU-Nets, and what they need beside PyTorch, torchvision, NumPy, SciPy, pandas,
# scikit-image, scikit-learn, matplotlib, Jinja2, requests, Typer, rich and pytest, which the GPU machine has. 3.12 is
# the Python there.
set -u
here=$(cd "$(dirname "$0")" && pwd)
PURE=(nnunetv2==2.8.1 nnunet==1.7.1 batchgenerators==0.25.5 batchgeneratorsv2==0.3.6 acvl-utils==0.2.6 medpy nibabel
    dynamic-network-architectures==0.4.4 timm==1.0.22 einops threadpoolctl seaborn tifffile filelock tqdm fsspec
    pydantic==2.12.5 annotated-types typing-inspection typing-extensions packaging huggingface_hub httpx httpcore h11
    anyio idna certifi)
BINARY=(SimpleITK PyYAML safetensors blosc2 ndindex numexpr msgpack connected-components-3d pydantic-core==2.41.5)
PARTS="tests step v2 v1 torchrun trainings"

pack() ( # FOLDER [PYTHON]
    set -e
    repository=$(realpath "$here/../..") folder=$(realpath -m "$1") work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    target=(--only-binary=:all: --no-deps --implementation cp --python-version "${2:-3.12}" --platform any)
    for glibc in 2_17 2_24 2_26 2_27 2_28 2014 1; do target+=(--platform "manylinux${glibc/2_/_2_}_x86_64"); done
    python3 -m pip wheel --quiet --no-deps --wheel-dir "$work/wheels" "${PURE[@]}" "$repository"
    python3 -m pip download --quiet "${target[@]}" --dest "$work/wheels" "${BINARY[@]}"
    mkdir -p "$folder" "$work/on_gpu/code" "$work/on_gpu/data"
    site=$work/on_gpu/site
    python3 -m pip install --quiet "${target[@]}" --no-index --no-compile --target "$site" "$work"/wheels/*.whl
    # nnU-Net imports this one, of 28 MB, and calls it for nothing here.
    echo 'def __getattr__(name): raise AttributeError(f"{name}: imagecodecs is a stand-in")' > "$site/imagecodecs.py"
    find "$site" -type d \( -name tests -o -name test -o -name include \) -prune -exec rm -rf {} +
    sed -i '1s|^#!.*python.*|#!/usr/bin/env python3|' "$site"/bin/*
    git -C "$repository" ls-files -z ':!docs' | tar -C "$repository" --null -cT - | tar -C "$work/on_gpu/code" -x
    if [ "${HWS_ATLAS:-}" ]; then
        PYTHONPATH=$repository:$repository/scripts/benchmarks python3 -c \
            'import sys, pathlib, atlas; atlas.prepare(*map(pathlib.Path, sys.argv[1:]))' "$work/data" "$HWS_ATLAS"
        mv "$work/data/prepared" "$work/data/preprocessed" "$work/on_gpu/data"
    fi
    tar -C "$work" -cJf "$folder/on_gpu.tar.xz.part" on_gpu
    mv "$folder/on_gpu.tar.xz.part" "$folder/on_gpu.tar.xz"
    cp "$0" "$folder/on_gpu.sh"
    du -h "$folder/on_gpu.tar.xz"
)

run() { # OUT [PART ...]
    out=$(realpath -m "$1")${QUICK:+/quick} wanted=${*:2} failed=0
    HWS_ATLAS=${HWS_ATLAS:+$(realpath -m "$HWS_ATLAS")}
    wanted=${wanted:-$PARTS}
    for name in $wanted; do
        [[ " $PARTS " == *" $name "* ]] || { echo "there is no part $name; there are $PARTS"; exit 2; }
    done
    export HWS_DEVICE=${HWS_DEVICE:-cuda} HWS_LONG_TESTS=1 PYTHONUNBUFFERED=1
    mkdir -p "$out/work"
    if [ -f "$here/on_gpu.tar.xz" ]; then
        code=$out/work/on_gpu/code
        python3 -m tarfile -e "$here/on_gpu.tar.xz" "$out/work" || exit 1 # a small machine has no xz for tar
        export PYTHONPATH=$code:$out/work/on_gpu/site PATH=$out/work/on_gpu/site/bin:$PATH
    else
        code=$(realpath "$here/../..")
        export PYTHONPATH=$code${PYTHONPATH:+:$PYTHONPATH}
    fi
    cd "$code" || exit 1
    python3 -m hws_nnunet.commands.main register || exit 1
    asked tests && part tests 3 python3 -m pytest -m cuda $(grep -rl --include='*.py' 'mark\.cuda' tests)
    asked step && measured step 6 step.py
    asked v2 && part v2 4 python3 -m pytest tests/nnunetv2/test_end_to_end.py -k predict
    asked v1 && part v1 4 python3 -m pytest tests/nnunetv1/test_end_to_end.py -k predict
    asked torchrun && part torchrun 3 python3 -m pytest tests/nnunetv2/test_distributed.py -k torchrun_trains
    asked trainings && trainings
    exit $failed
}

asked() { # NAME
    [[ " $wanted " == *" $1 "* ]]
}

part() { # NAME MINUTES COMMAND...
    echo "$1: at most $2 minutes, log in $out/$1.log"
    timeout --signal=INT --kill-after=30s "$2m" "${@:3}" > "$out/$1.log" 2>&1
    local code=$?
    tail -n 4 "$out/$1.log" | sed 's/^/  /'
    case $code in
        0) echo "$1: done" ;;
        124 | 137) echo "$1: NOT FINISHED in its time"; failed=1 ;;
        *) echo "$1: FAILED, exit code $code"; failed=1 ;;
    esac
}

measured() { # NAME MINUTES SCRIPT OPTIONS...
    if [ -f "scripts/benchmarks/$3" ]; then
        part "$1" "$2" python3 "scripts/benchmarks/$3" --device "$HWS_DEVICE" --docs "$out" --work "$out/work/$1" \
            ${QUICK:+--quick} "${@:4}"
    else
        echo "$1: left out, there is no scripts/benchmarks/$3"
    fi
}

trainings() {
    local packed=$out/work/on_gpu/data kind=${QUICK:+quick}
    local data=$out/work/trainings/${kind:-work}
    if [ -e "$packed/prepared" ] && [ ! -e "$data/prepared" ]; then
        mkdir -p "$data" && cp -r "$packed/." "$data"
    fi
    if [ -e "$data/prepared" ] || [ "$HWS_ATLAS" ]; then
        # Six networks would be compiled for longer than that saves.
        nnUNet_compile=f measured trainings 9 atlas.py ${HWS_ATLAS:+--data "$HWS_ATLAS"} --scratch --longer 4 \
            --processes 6 --results-only --seeds 3 --arms uniform "ours, ess 0.8"
        cp "$data/evaluations.jsonl" "$out" 2> /dev/null
    else
        echo "trainings: left out, HWS_ATLAS names no atlas, here or where it was packed"
    fi
}

case ${1:-},${2:-} in
    pack,?* | run,?*) "$1" "${@:2}" ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
