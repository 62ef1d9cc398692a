#!/usr/bin/env bash
# The demo as its user meets it: it starts, its psql line and addresses work as printed, what was
# written is there after a restart, and what is wrong is said before anything is made.
# demo_test.sh CLONE
set -euo pipefail
demo=$1/tools/demo
base=$((20000 + $$ % 1200 * 10))
parent=$(mktemp -d /tmp/pgsteady-test-XXXXXX)
chmod 755 "$parent"
dir="$parent/a demo"

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
stop() { [ ! -e "$dir/settings" ] || "$demo" --dir "$dir" --stop > /dev/null; }
trap 'stop; rm -rf "$parent"' EXIT

start() {
  "$demo" --dir "$dir" --background "$@" > "$parent/shown" 2>&1 || fail "$(cat "$parent/shown")"
}

# The psql line as shown, asked one thing more.
sql() {
  local line
  line=$(grep -o 'PGPASSFILE=.*' "$parent/shown") || fail "no psql line"
  eval "$line -Atqc \"\$1\""
}

says() {  # says TEXT COMMAND...: it fails and its complaint contains the text
  local text=$1 said
  shift
  if said=$(timeout 20 "$@" 2>&1); then fail "expected '$text', but it succeeded: $said"; fi
  [[ $said == *"$text"* ]] || fail "expected '$text', got: $said"
}

says 'expected 1 to 9' "$demo" --nodes 0
says 'there is no demo' "$demo" --dir "$dir" --stop
touch "$parent/file"
says 'holds something else' "$demo" --dir "$parent"

start --port-base "$base" --nodes 2
sql 'create table kept (n int); insert into kept values (42)'
for address in $(grep -o 'http://[^ ]*' "$parent/shown"); do
  answer=$(timeout 5 bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0#*:}"
    printf "GET /patroni HTTP/1.0\r\n\r\n" >&3; cat <&3' "$(cut -d/ -f3 <<< "$address")")
  [[ $answer == *'"state":"running"'* ]] || fail "$address answers: $answer"
done
says "port $base, for etcd, is taken" "$demo" --dir "$parent/other" --port-base "$base"
[ ! -e "$parent/other" ] || fail "a directory was made for a demo that cannot start"
says "was made with --port-base $base --nodes 2" "$demo" --dir "$dir" --nodes 3

stop
grep -q . <(cat "$dir"/*.pid 2>/dev/null) && fail "something still has a pid file after --stop"
start
[ "$(sql 'select n from kept')" = 42 ] || fail "what was written is gone after a restart"
