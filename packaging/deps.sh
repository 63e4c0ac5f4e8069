#!/bin/sh
# Installs the servers that the tests run limeload in front of, or with "bench" the
# proxies that it is compared with. Where it cannot, it says what is missing and what
# that leaves out; the tests then skip those parts (or fail, with CI=true).
set -eu

missing=
need() { # need COMMAND-OR-GLOB PACKAGE
	for path in $1; do
		if command -v "$path" >/dev/null 2>&1; then return; fi
	done
	missing="$missing $2"
}
if [ "${1:-test}" = bench ]; then
	# $HAPROXY and $NGINX name other builds.
	if [ -z "${HAPROXY:-}" ]; then
		need haproxy haproxy
	fi
	if [ -z "${NGINX:-}" ]; then
		need nginx nginx-light
		need "/usr/lib/nginx/modules/ngx_stream_module.so" libnginx-mod-stream
	fi
else
	need "pgbench /usr/lib/postgresql/*/bin/pgbench" postgresql
	need "/usr/lib/postgresql/*/bin/postgres" postgresql
	need "psql" postgresql-client
	need "redis-server" redis-server
	need "mariadbd /usr/sbin/mariadbd" mariadb-server
	need "ip" iproute2
	need "promtool" prometheus
	need "prometheus" prometheus
	need "chromium" chromium
	need "systemd-analyze" systemd
	need "strace" strace
fi

[ -n "$missing" ] || exit 0
if [ -n "${NO_DEPS:-}" ]; then
	echo "deps: NO_DEPS is set; not installed:$missing (what needs them is left out)"
elif [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "deps: not root on Debian; not installed:$missing (what needs them is left out)"
else
	echo "deps: installing$missing"
	# Servers are started by the tests alone, not by the packages.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod +x "$policy"
		trap 'rm -f "$policy"' EXIT
	fi
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list
	if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; then
		echo "deps: apt-get failed; not installed:$missing (what needs them is left out)"
	fi
fi
