#!/usr/bin/env bash
# A chain on several nodes, while nodes die, freeze and join. Everything runs on this machine, on free ports of the loopback, under
# one directory that is removed at the end:
#
#   tills ──> haproxy ──> three nodes, later four ──> PostgreSQL
#                                  └──────────────> three nats-servers
#
#   deploy/cluster-demo.sh [--rate N] [--seconds N] [--keep]
#
#   --rate     purchases a second that the simulator tries (default 200)
#   --seconds  length of each phase (default 15; a dead node is noticed after 6)
#   --keep     leave the directory, with all logs, where it is
#
# Ends with `tillstream verify`: exit code 0 only if not a single sale is
# missing, doubled or different.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"

rate=200
phase=15
keep=false
while [ "$#" -gt 0 ]; do
  case "$1" in
    --rate) rate=$2 && shift 2 ;;
    --seconds) phase=$2 && shift 2 ;;
    --keep) keep=true && shift ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) printf 'error: what is %s? --help\n' "$1" >&2 && exit 2 ;;
  esac
done

program=${TILLSTREAM_PROGRAM:-$root/build/release/tillstream}
dir=$(mktemp -d "${TMPDIR:-/tmp}/tillstream-demo.XXXXXX")
chmod 755 "$dir"

# Process ids by name; only what this script started is ever signalled.
declare -A pids=()
declare -A ports=()

say() {
  printf '\n==> %s\n' "$*"
}

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

signal() {
  [ -n "${pids[$2]:-}" ] && kill "-$1" "${pids[$2]}" 2> /dev/null || true
}

# kill -9, without the shell's message.
kill_hard() {
  signal KILL "$1"
  wait "${pids[$1]}" 2> /dev/null || true
}

alive() {
  [ -n "${pids[$1]:-}" ] && kill -0 "${pids[$1]}" 2> /dev/null
}

clean_up() {
  local status=$? name
  for name in simulator node1 node2 node3 node4 haproxy; do
    signal CONT "$name"
    signal TERM "$name"
  done
  for name in simulator node1 node2 node3 node4 haproxy; do
    [ -z "${pids[$name]:-}" ] || wait "${pids[$name]}" 2> /dev/null || true
  done
  for name in nats1 nats2 nats3; do
    signal TERM "$name"
    [ -z "${pids[$name]:-}" ] || wait "${pids[$name]}" 2> /dev/null || true
  done
  if [ -d "$dir/postgres/base" ]; then
    as_server "$bin/pg_ctl" -D "$dir/postgres" -m fast -w stop \
      > /dev/null 2>&1 || true
  fi
  if "$keep"; then
    say "Everything is left in $dir"
  else
    rm -rf -- "$dir"
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# -- servers -------------------------------------------------------------------

# Ports that nobody listens on, all different.
choose_ports() {
  local name port
  for name in "$@"; do
    while :; do
      port=$((20000 + RANDOM % 12000))
      case " ${ports[*]:-} " in *" $port "*) continue ;; esac
      (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || break
    done
    ports[$name]=$port
  done
}

wait_for() {
  local what=$1 tries=300
  shift
  until "$@" > /dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || die "$what did not come up; see $dir (--keep)"
    sleep 0.1
  done
}

# PostgreSQL refuses to run as root.
as_server() {
  if [ "$(id -u)" -eq 0 ]; then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}

start_postgres() {
  bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
  mkdir "$dir/postgres"
  [ "$(id -u)" -ne 0 ] || chown postgres "$dir/postgres"
  as_server "$bin/initdb" -D "$dir/postgres" -U tillstream -A trust \
    --locale=C.UTF-8 -E UTF8 > "$dir/initdb.log"
  printf '%s\n' "port = ${ports[postgres]}" "listen_addresses = '127.0.0.1'" \
    "unix_socket_directories = ''" "max_connections = 200" \
    "shared_buffers = 256MB" | as_server tee -a \
    "$dir/postgres/postgresql.conf" > /dev/null
  as_server "$bin/pg_ctl" -D "$dir/postgres" -l "$dir/postgres/server.log" -w \
    start > /dev/null
  server="postgresql://tillstream@127.0.0.1:${ports[postgres]}"
  "$bin/psql" -qX "$server/postgres" -c "CREATE DATABASE oltp" \
    -c "CREATE DATABASE analytics"
}

start_nats() {
  local i routes=
  local nats=${TILLSTREAM_NATS_SERVER:-}
  for nats in "$nats" "${XDG_DATA_HOME:-${HOME:-/root}/.local/share}/tillstream/tools/nats-server" \
    /var/lib/tillstream/tools/nats-server "$(command -v nats-server || true)"; do
    [ ! -x "$nats" ] || break
  done
  [ -x "$nats" ] || die "there is no nats-server"
  for i in 1 2 3; do
    routes="$routes${routes:+, }\"nats-route://127.0.0.1:${ports[route$i]}\""
  done
  nats_url=
  for i in 1 2 3; do
    cat > "$dir/nats$i.conf" << END
server_name: n$i
listen: "127.0.0.1:${ports[nats$i]}"
jetstream { store_dir: "$dir/nats$i" }
cluster {
  name: demo
  listen: "127.0.0.1:${ports[route$i]}"
  routes: [$routes]
}
END
    "$nats" -c "$dir/nats$i.conf" > "$dir/nats$i.log" 2>&1 &
    pids[nats$i]=$!
    nats_url="$nats_url${nats_url:+,}nats://127.0.0.1:${ports[nats$i]}"
  done
}

write_settings() {
  cat > "$dir/tillstream.conf" << END
oltp-dsn = $server/oltp
analytics-dsn = $server/analytics
nats-url = $nats_url
stream-replicas = 3
stream-bytes-max = 1073741824
log-level = warning
END
}

start_balancer() {
  local i
  {
    cat << END
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 15s
  retries 3
  option redispatch
  retry-on conn-failure empty-response
listen tillstream
  bind 127.0.0.1:${ports[http]}
  balance roundrobin
  option httpchk GET /healthz
  default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
END
    for i in 1 2 3 4; do
      printf '  server node%s 127.0.0.1:%s\n' "$i" "${ports[node$i]}"
    done
  } > "$dir/haproxy.cfg"
  haproxy -db -f "$dir/haproxy.cfg" > "$dir/haproxy.log" 2>&1 &
  pids[haproxy]=$!
}

# -- nodes ---------------------------------------------------------------------

start_node() {
  "$program" serve --config "$dir/tillstream.conf" --port "${ports[$1]}" \
    --node-name "$1" >> "$dir/$1.log" 2>&1 &
  pids[$1]=$!
}

is_ready() {
  curl -sf -m 2 "http://127.0.0.1:${ports[$1]}/readyz"
}

# One number out of a node's metrics, summed over its labels.
metric() {
  awk -v name="$2" 'index($1, name) == 1 \
    && (length($1) == length(name) || substr($1, length(name) + 1, 1) == "{") \
    { sum += $2 } END { printf "%d", sum }' <<< "$1"
}

declare -A last=()
declare -A state=()
declare -A owned=()

# Which branches each living node owns, as the table says.
read_owners() {
  local name list
  owned=()
  while IFS='|' read -r name list; do
    [ -z "$name" ] || owned[$name]=$list
  done < <("$bin/psql" -qAtX "$server/analytics" -c "
    SELECT o.node, string_agg(right(o.branch_id, 2), ' ' ORDER BY o.branch_id)
      FROM shard_ownership o
      JOIN nodes n ON n.name = o.node AND n.incarnation = o.incarnation
     WHERE n.alive
     GROUP BY o.node")
}

# The largest value of a gauge.
worst() {
  awk -v name="$2" 'index($1, name "{") == 1 && $2 > max { max = $2 }
    END { printf "%d", max }' <<< "$1"
}

node_row() {
  local name=$1 text applied written
  if ! alive "$name"; then
    row "$name" "${state[$name]:-dead}" '' '' '' '' "${owned[$name]:-}"
    return
  fi
  if ! text=$(curl -sf -m 0.3 "http://127.0.0.1:${ports[$name]}/metrics"); then
    row "$name" "${state[$name]:-silent}" '' '' '' '' "${owned[$name]:-}"
    return
  fi
  applied=$(metric "$text" tillstream_end_to_end_lag_seconds_count)
  written=$(metric "$text" 'tillstream_write_outcomes_total{outcome="recorded"}')
  row "$name" up "$(((written - ${last[$name.w]:-0}) / 2))" \
    "$(((applied - ${last[$name.a]:-0}) / 2))" \
    "$(metric "$text" tillstream_pending_events)" \
    "$(worst "$text" tillstream_branch_lag_ms)" "${owned[$name]:-}"
  last[$name.w]=$written
  last[$name.a]=$applied
}

row() {
  printf '  %-6s %-7s %7s %9s %8s %8s  %s\n' "$@"
}

# Branches owned, sales and applies a second, lag.
show() {
  local name
  read_owners
  printf '\n%s  %s\n' "$(date +%H:%M:%S)" "$1"
  row node state sold/s applied/s pending lag/ms branches
  for name in node1 node2 node3 node4; do
    [ -z "${pids[$name]:-}" ] || node_row "$name"
  done
}

watch_for() {
  local end=$((SECONDS + $1))
  while [ "$SECONDS" -lt "$end" ]; do
    sleep 2
    show "$2"
  done
}

# -- the phases ----------------------------------------------------------------

say "Looking for what the demonstration needs"
deploy/install-deps.sh --run --demo
[ -x "$program" ] || deploy/install-deps.sh --build
if [ ! -x "$program" ]; then
  say "Building (a few minutes the first time)"
  cmake --preset release > "$dir/cmake.log"
  cmake --build --preset release --parallel "$(nproc)" --target tillstream
fi

say "Starting PostgreSQL, three nats-servers, haproxy and three nodes"
choose_ports postgres nats1 nats2 nats3 route1 route2 route3 http node1 node2 \
  node3 node4
start_postgres
start_nats
write_settings
"$program" migrate --config "$dir/tillstream.conf" \
  --chain deploy/demo-chain.json
start_balancer
for name in node1 node2 node3; do
  start_node "$name"
done
for name in node1 node2 node3; do
  wait_for "$name" is_ready "$name"
done
show "everybody is up"
"$program" nodes --config "$dir/tillstream.conf"

say "Tills sell through the balancer: $rate purchases a second"
"$program" simulate --config "$dir/tillstream.conf" \
  --url "http://127.0.0.1:${ports[http]}" --rate "$rate" --tills 16 --for 2h \
  > "$dir/simulator.log" 2>&1 &
pids[simulator]=$!
watch_for "$phase" "three nodes"

say "kill -9 of node1: its branches find new owners"
kill_hard node1
watch_for "$phase" "node1 is dead"

say "node2 freezes (SIGSTOP): it is declared dead"
signal STOP node2
state[node2]=frozen
watch_for "$phase" "node2 is frozen"

say "node4 joins, and node2 wakes up: it must not write to branches that it lost"
start_node node4
signal CONT node2
unset 'state[node2]'
watch_for "$phase" "node4 has joined, node2 is back"

say "A nats-server dies: two of three are enough"
kill_hard nats1
watch_for $((2 * phase)) "one nats-server is dead"

say "The tills stop"
alive simulator || die "the simulator gave up: $(tail -n 5 "$dir/simulator.log")"
signal INT simulator
wait "${pids[simulator]}" || true
unset 'pids[simulator]'
tail -n 15 "$dir/simulator.log"
"$program" nodes --config "$dir/tillstream.conf"

say "Is every sale there, once, and counted?"
"$program" verify --config "$dir/tillstream.conf" --wait 60s
