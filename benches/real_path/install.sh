#!/usr/bin/env bash
# Makes librdkafka's performance tool, target/real_path/rdkafka_performance, from the example in
# Debian's package: it is compiled and not kept here. What is missing is installed where apt-get may
# do so; what cannot be had is said, and the exit code is 1.
set -euo pipefail
cd "$(dirname "$0")/../.."
headers=$PWD/benches/real_path/tool
home=${CARGO_TARGET_DIR:-$PWD/target}/real_path
example=/usr/share/doc/librdkafka-dev/examples/rdkafka_performance.c

missing() {
    echo "real path: no rdkafka_performance: $1" >&2
    exit 1
}

have_example() {
    [ -f "$example" ] || [ -f "$example.gz" ]
}

have_all() {
    command -v gcc >/dev/null && [ -f /usr/include/librdkafka/rdkafka.h ] && have_example
}

if ! have_all; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        missing 'install gcc and librdkafka-dev, with its examples (Debian: apt-get install librdkafka-dev gcc)'
    fi
    install() { apt-get install -y -qq librdkafka-dev gcc >/dev/null; }
    # A machine that was just made may not know what there is.
    install || { apt-get update -qq && install; } || missing 'apt-get install librdkafka-dev gcc failed'
fi
have_example || missing "the package came without $example (are documents excluded in /etc/dpkg/dpkg.cfg.d?)"

# The example includes "../src/rd.h" and "rdkafka.h", as they lie in librdkafka's own source tree.
mkdir -p "$home/tool/src"
cp "$headers/rd.h" "$home/tool/src/rd.h"
echo '#include <librdkafka/rdkafka.h>' >"$home/tool/src/rdkafka.h"
echo '/* The clock is in rd.h. */' >"$home/tool/src/rdtime.h"
if [ -f "$example" ]; then
    cp "$example" "$home/tool/rdkafka_performance.c"
else
    gzip -dc "$example.gz" >"$home/tool/rdkafka_performance.c"
fi
gcc -O2 -w -I "$home/tool/src" -o "$home/rdkafka_performance" "$home/tool/rdkafka_performance.c" -lrdkafka -lz -lpthread ||
    missing 'gcc failed'
