#!/usr/bin/env bash
# pip 24.1 to 25.3: a package whose extra is called v2
#
# Guess:     an extra's name is a name: a package with the extras v2 and plots, which v2 asks for, installs with any pip.
# Behaviour: pip 24.1 to 25.3 compares the name of the extra that is asked for with "v2" as versions, since "v2" is one. It
#            ends in InvalidVersion, and installs nothing: with [v2], with [plots], and without an extra, too. Called model2,
#            the same extra installs. pip 24.0 and 26.0 take the name for a name.
# Seen:      24.0: 0 0 0 0; 24.1, 25.3: 2 2 2 0, Invalid version: 'plots'; 26.0: 0 0 0 0 (exit codes)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for extra in v2 model2; do
    mkdir $extra
    cat > $extra/pyproject.toml <<TOML
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "segmenter-$extra"
version = "1.0"

[project.optional-dependencies]
plots = ["six"]
$extra = ["segmenter-$extra[plots]", "packaging"]
TOML
done
python3 -m venv env
env/bin/python -m pip install --quiet setuptools==80.9.0 wheel==0.45.1
result=0
for version in 24.0 24.1 25.3 26.0; do
    env/bin/python -m pip install --quiet "pip==$version"
    codes=()
    for what in './v2[v2]' './v2[plots]' ./v2 './model2[model2]'; do
        env/bin/python -m pip install --quiet --dry-run --no-build-isolation "$what" 2> said && codes+=(0) || codes+=($?)
        grep --only-matching "Invalid version: '[a-z0-9]*'$" said || true
    done
    echo "$version: ${codes[*]}"
    case $version in 24.1 | 25.3) expected="2 2 2 0" ;; *) expected="0 0 0 0" ;; esac
    [ "${codes[*]}" = "$expected" ] || { echo "changed: expected $expected"; result=1; }
done
exit $result
