#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# make install, a program built against what it installed, make uninstall. No wires here; the
# program asks its own host:
#
#	+-- server --+
#	|     lo     |
#	+------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/../.."

host server
root=$tmp/root
makes() {
	make --no-print-directory B="$B" XDP="$XDP" DESTDIR="$root" PREFIX=/usr "$@"
}

# What is installed has to be what was built for these tests, sanitizers and all.
case $B in
*-asan) san=1 flags="-O1 -g" ;;
*) san='' flags="-O2 -g" ;;
esac
check "make install" makes SAN=$san CFLAGS="$flags" install

there() { # FILE…
	local file
	for file; do
		[ -e "$root/usr/$file" ] || { echo "$file is missing" && return 1; }
	done
}
check "command, library, header" there bin/millrace lib/libmillrace.a lib/libmillrace.so \
	include/millrace.h lib/pkgconfig/millrace.pc
check "soname" [ "$(readlink -f "$root/usr/lib/libmillrace.so")" -ef \
	"$(readlink -f "$root"/usr/lib/libmillrace.so.?)" ]
if [ "$XDP" = 1 ]; then
	check "the steering object" there lib/millrace/steer.bpf.o
	ipn server link add va type veth peer name vb
	check "the steering object, for ip link" \
		ipn server link set va xdp obj "$root/usr/lib/millrace/steer.bpf.o" sec xdp
	check "the steering object is attached" [ -n "$(xdp_program server va)" ]
else
	check "no steering object" [ ! -e "$root/usr/lib/millrace" ]
fi

cat >"$tmp/hello.c" <<'END'
#include <millrace.h>
#include <stdio.h>

int main(void)
{
	struct mr_options options = MR_OPTIONS_INIT;
	struct mr_transport *t;

	options.policy = MR_POLICY_SOCKET;
	if (mr_bind(&options, &t, NULL))
		return 1;
	printf("bound %d\n", mr_port(t) > 0);
	mr_close(t);
	return 0;
}
END

compile() { # OUTPUT
	local flags
	flags=$(PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root/usr/lib/pkgconfig \
		pkg-config --cflags --libs millrace)
	# shellcheck disable=SC2086
	cc -Wall -Werror ${san:+-fsanitize=address,undefined} -o "$1" "$tmp/hello.c" $flags
}

check "builds with pkg-config" compile "$tmp/shared"
check "runs with it" on server env LD_LIBRARY_PATH="$root/usr/lib" "$tmp/shared"
check "and is linked to its soname" says 'NEEDED.*libmillrace\.so\.[0-9]+' \
	<(readelf -d "$tmp/shared")
check "the installed command runs" on server "$root/usr/bin/millrace" --version

check "make uninstall" makes uninstall
check "nothing is left" [ -z "$(find "$root" ! -type d)" ]
finish
