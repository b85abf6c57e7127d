#!/bin/sh
# Installs redis-server, unless it or valkey-server is there already. If this user cannot install
# packages, prints a hint. Does not leave the server running: the tests start it themselves.
set -eu

say() { echo "redis.sh: $*" >&2; }

command -v redis-server >/dev/null && exit
command -v valkey-server >/dev/null && exit

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "found no redis-server or valkey-server; install one, for example by 'sudo apt-get install redis-server'"
    exit 1
fi

say "installing redis-server"
# Debian and Ubuntu start installed services unless this file forbids it. Keep an existing file.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq redis-server >&2
redis-server --version >/dev/null
