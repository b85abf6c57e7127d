#!/bin/sh
# Makes sure that there is a redis-server (or a valkey-server) for the tests, which start it themselves. Where this
# may install packages it installs one, without leaving it running.
set -eu

say() { echo "redis.sh: $*" >&2; }

command -v redis-server >/dev/null && exit
command -v valkey-server >/dev/null && exit

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "there is no redis-server or valkey-server: install either, such as with 'sudo apt-get install redis-server'"
    exit 1
fi

say "installing redis-server"
# Packages on Debian and Ubuntu start what they install, unless this file forbids it. One that is there stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq redis-server >&2
redis-server --version >/dev/null
