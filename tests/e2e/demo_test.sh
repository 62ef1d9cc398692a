#!/usr/bin/env bash
# The demo as its user meets it: it starts, its psql line, addresses and what to try work as
# printed, what was written is there after a restart, Ctrl-C ends all of it, and what is wrong is
# said before anything is made.
# demo_test.sh CLONE
set -euo pipefail
demo=$1/tools/demo
base=$((20000 + $$ % 1200 * 10))
parent=$(mktemp -d /tmp/pgsteady-test-XXXXXX)
chmod 755 "$parent"
dir="$parent/a demo"

foreground=''

fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
stop() { [ ! -e "$dir/settings" ] || "$demo" --dir "$dir" --stop > /dev/null; }
trap '[ -z "$foreground" ] || kill -KILL "$foreground" || true; stop; rm -rf "$parent"' EXIT

start() {
  "$demo" --dir "$dir" --background "$@" > "$parent/shown" 2>&1 || fail "$(cat "$parent/shown")"
}

# In a session of its own, so that a Ctrl-C can be played: SIGINT to all of its process group. What
# a script puts into the background ignores that signal, unless it is told not to.
start_in_foreground() {
  setsid env --default-signal=INT "$demo" --dir "$dir" > "$parent/shown" 2>&1 < /dev/null &
  foreground=$!
  for _ in $(seq 900); do
    ! grep -q '^Ctrl-C stops' "$parent/shown" || return 0
    kill -0 "$foreground" 2>/dev/null || break
    sleep 0.1
  done
  fail "not in the foreground: $(cat "$parent/shown")"
}

interrupt() {
  local status=0
  kill -INT -- "-$foreground"
  wait "$foreground" || status=$?
  foreground=''
  [ $status = 130 ] || fail "Ctrl-C ended it with $status: $(cat "$parent/shown")"
}

nothing_left() {
  local left
  left=$(cat "$dir"/*.pid 2>/dev/null || true)
  [ -z "$left" ] || fail "there is a pid file left: $left"
  left=$(pgrep -af "$dir" || true)
  [ -z "$left" ] || fail "there is something left running: $left"
}

shown() { grep -Eq -- "$1" "$parent/shown" || fail "no '$1' in: $(cat "$parent/shown")"; }

# names COMMENT PROGRAM: the line to try with that comment names a process that runs that program.
names() {
  local pid
  pid=$(sed -nE "s/^  kill (-9 )?([0-9]+)   # $1.*/\2/p" "$parent/shown")
  [ -n "$pid" ] || fail "no line to try '$1' in: $(cat "$parent/shown")"
  [ "$(cat "/proc/$pid/comm")" = "$2" ] || fail "$pid, of '$1', runs $(cat "/proc/$pid/comm")"
}

# The table of members, and lines to try that can be pasted.
check_shown() {
  local table='^\| pg1 .*\| (Leader|Replica) .*\| (running|streaming) ' line
  shown '^\+ Cluster: demo \('
  shown "$table"
  shown "${table/pg1/pg2}"
  shown '^\| pg[12] .*\| Leader '
  shown '^What to try, with pg[12] as the primary:$'
  names 'its PostgreSQL' postgres
  names 'its agent' pgsteady
  names 'the node' pgsteady-guard
  names 'the guardian' pgsteady-guard
  shown '^  tail -f .*/pg\*\.log   # '
  shown '^  \./dev demo --dir .* --background   # '
  shown '^  \./dev demo --dir .* --stop   # '
  line=$(grep -E '^  .*/bin/pgsteady list ' "$parent/shown") || fail "no line that lists members"
  eval "$line" | grep -E "$table" > /dev/null || fail "no table is shown by: $line"
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
check_shown
for address in $(grep -o 'http://[^ ]*' "$parent/shown"); do
  answer=$(timeout 5 bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0#*:}"
    printf "GET /patroni HTTP/1.0\r\n\r\n" >&3; cat <&3' "$(cut -d/ -f3 <<< "$address")")
  [[ $answer == *'"state":"running"'* ]] || fail "$address answers: $answer"
done
says "port $base, for etcd, is taken" "$demo" --dir "$parent/other" --port-base "$base"
[ ! -e "$parent/other" ] || fail "a directory was made for a demo that cannot start"
says "was made with --port-base $base --nodes 2" "$demo" --dir "$dir" --nodes 3

stop
nothing_left
start_in_foreground
check_shown
[ "$(sql 'select n from kept')" = 42 ] || fail "what was written is gone after a restart"
interrupt
shown '^stopped; the data stays in '
nothing_left
