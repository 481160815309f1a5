"""The benchmarks. Each group runs what is compared in turn, round by round."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import threading
import time
import uuid

import history
import machine
from machine import Failure, load, node, run, servers, tool, wait_for

HERE = pathlib.Path(__file__).resolve().parent
# Of an event of three items, in sixteens of bytes (the median was 1,215).
PAYLOAD_REPEATS = 74
PAYLOAD_BYTES = 1215
# The relay may be this far behind when nothing is wrong.
SETTLED_ROWS = 5000
# Its time begins before its connections are made, which may take a second.
PGBENCH_SECONDS_MIN = 3


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


# -- the plain way -------------------------------------------------------------

def pgbench(on, script, clients, seconds, dsn=None, log=None):
    """@returns transactions a second"""
    command = ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "1",
               "-T", str(max(PGBENCH_SECONDS_MIN, int(seconds))), "-f", script]
    if log:
        command += ["-l", "--log-prefix", log]
    out = run(command + [dsn or on.oltp])
    found = re.search(r"tps = ([\d.]+)", out)
    if not found:
        raise Failure(f"pgbench completed no transaction: {out[-500:]}")
    return float(found[1])


def plain_script(on):
    path = os.path.join(on.dir, "plain.sql")
    text = (HERE / "plain.sql").read_text()
    text = text.replace("PAYLOAD_REPEATS", str(PAYLOAD_REPEATS))
    pathlib.Path(path).write_text("\n".join(
        line for line in text.splitlines() if not line.startswith("--")))
    return path


def plain(on, seconds, clients=32):
    return pgbench(on, plain_script(on), clients, seconds)


def plain_p99_ms(on, seconds, clients):
    prefix = os.path.join(on.dir, f"plain-{time.monotonic_ns()}")
    pgbench(on, plain_script(on), clients, seconds, log=prefix)
    values = []
    for path in pathlib.Path(on.dir).glob(os.path.basename(prefix) + "*"):
        values += [int(line.split()[2]) / 1000
                   for line in path.read_text().splitlines()]
        path.unlink()
    return quantile(values, 0.99)


def in_turn(round_number, steps):
    """Every other round backwards, so that nobody always comes first."""
    for step in (steps if round_number % 2 == 0 else steps[::-1]):
        step()


# -- what a purchase costs -----------------------------------------------------

class Cost:
    """CPU and WAL of all parts between two moments."""

    def __init__(self, on, of_node):
        self.on, self.node = on, of_node
        self.before = self.now()

    def now(self):
        wal = self.on.number("SELECT pg_current_wal_insert_lsn() - '0/0'")
        return {"node": machine.cpu_of(self.node.pid),
                "PostgreSQL": machine.cpu_of_tree(self.on.postgres_pid),
                "nats-server": machine.cpu_of(self.on.nats_pid),
                "WAL": wal}

    def of_each(self, count):
        """Microseconds of CPU and bytes of WAL a purchase."""
        after = self.now()
        return {name: (after[name] - self.before[name]) / count
                * (1 if name == "WAL" else 1e6) for name in after}


def mean_batch(of, before):
    names = ("tillstream_write_batch_size_sum",
             "tillstream_write_batch_size_count")
    total, count = (of.metric(x) - before.get(x, 0) for x in names)
    return total / count if count else 0


def batch_metrics(of):
    return {x: of.metric(x) for x in ("tillstream_write_batch_size_sum",
                                      "tillstream_write_batch_size_count")}


# -- B0, B1, P1 ----------------------------------------------------------------

def bare_intake(on, batch, sessions, seconds):
    return float(run([tool("bare_intake"), on.oltp, str(batch), str(sessions),
                      str(seconds)]))


def intake(results, scale):
    """B0, B1, P1: purchases over HTTP against the plain way and the ceiling"""
    batch = {}
    with servers() as on:
        keys = on.keys()
        with node(on, "--roles", "intake", broker=False) as it:
            it.wait_ready_to_sell(keys)

            def sell(connections):
                before = batch_metrics(it)
                cost = Cost(on, it)
                done = load(it, keys, connections=connections,
                            seconds=scale.seconds)
                results.add(f"P1 {connections}", done["per_second"], "1/s")
                results.add(f"P1 {connections} p99",
                            done["latency_us"]["p99"] / 1000, "ms")
                each = cost.of_each(done["recorded"])
                for name, value in each.items():
                    results.note(f"P1 {connections} {name}", value)
                batch[connections] = mean_batch(it, before)
                results.note(f"P1 {connections} batch", batch[connections])

            for i in range(scale.rounds):
                in_turn(i, [
                    lambda: results.add("B0", plain(on, scale.seconds), "1/s"),
                    lambda: sell(64), lambda: sell(256)])
        ceiling(results, scale, on, round(batch[256]))


def ceiling(results, scale, on, observed):
    """B1 over batch sizes, then at the size that P1 had."""
    curves = {}
    seconds = max(0.5, scale.seconds / 4)
    for sessions in (1, 2):
        curves[f"{sessions} sessions"] = [
            (size, bare_intake(on, size, sessions, seconds))
            for size in scale.batches]
    results.curves["ceiling"] = {
        "title": "B1: purchases a second of a bare loop", "curves": curves,
        "x": "purchases a transaction", "y": "1/s"}
    best = max(curves, key=lambda x: max(y for _, y in curves[x]))
    size = min(max(1, observed), 500)
    for _ in range(scale.rounds):
        results.add("B1 at its batch",
                    bare_intake(on, size, int(best[0]), scale.seconds), "1/s")


def intake_over_history(results, scale, on):
    """P1 once more. @pre `on` has a long history of purchases"""
    keys = on.keys()
    with node(on, "--roles", "intake", broker=False) as it:
        it.wait_ready_to_sell(keys)
        on.settle()
        for i in range(scale.rounds):
            in_turn(i, [
                lambda: results.add("B0 history", plain(on, scale.seconds),
                                    "1/s"),
                lambda: results.add(
                    "P1 history",
                    load(it, keys, connections=256,
                         seconds=scale.seconds)["per_second"], "1/s")])


# -- P2, P3, P4, P9 ------------------------------------------------------------

def watch_applied(on):
    return on.watch("SELECT coalesce(sum(apply_no), 0) FROM branch_cursors",
                    on.analytics)


def backlog(on):
    return on.number("SELECT count(*) FROM outbox_events WHERE status = 'NEW'")


def hold(on, it, keys, seconds, **flags):
    """Sells for a while with everything on.
    @returns the load's report, and how long the last one took to be applied"""
    with watch_applied(on) as applied:
        before = applied()
        done = load(it, keys, connections=256, seconds=seconds, **flags)
        took = wait_for("everything applied",
                        lambda: applied() - before >= done["recorded"], 600)
        return done, took


def held_rate(on, it, keys, seconds):
    """The highest rate of which all is applied within 5 s of the end."""
    rate = {}
    for _ in range(6):
        done, took = hold(on, it, keys, seconds, **rate)
        if took <= 5:
            return done, took
        # What was applied while it lasted, and a little less.
        kept = done["recorded"] / (seconds + took)
        rate = {"rate": kept * (0.97 if not rate else 0.94)}
    raise Failure("no rate was held")


def pipeline(results, scale):
    """P2, P3, P4, P9: everything on"""
    seconds = scale.seconds if scale.smoke else 3 * scale.seconds
    # B0 on servers of its own: its rows are no events. They live as long as the
    # others, so that both have their checkpoints and their vacuum.
    files = machine.WAL_FILES if scale.smoke else machine.WAL_FILES_ENOUGH
    with servers(wal_files=files) as on, servers(wal_files=files) as aside:
        keys = on.keys()
        owner = on.key("owner")
        with node(on) as it:
            it.wait_ready()

            def whole():
                cost = Cost(on, it)
                done, took = held_rate(on, it, keys, seconds)
                results.add("P2", done["per_second"], "1/s")
                results.add("P2 applied after", took * 1000, "ms")
                for name, value in cost.of_each(done["recorded"]).items():
                    results.note(f"P2 {name}", value)
                results.curves["pipeline"] = {
                    "title": "P2: purchases answered in each second",
                    "curves": {"201s": list(enumerate(done["by_second"]))},
                    "x": "second", "y": "1/s"}

            for i in range(scale.rounds):
                in_turn(i, [
                    lambda: results.add("B0", plain(aside, scale.seconds),
                                        "1/s"), whole])
            half = results.median("P2") / 2
            grow(aside, purchases(on))

            def latency():
                on.settle()
                done = load(it, keys, connections=64, seconds=scale.seconds,
                            warmup=1, rate=half)
                results.add("P3 p99", done["latency_us"]["p99"] / 1000, "ms")
                results.add("P3 p50", done["latency_us"]["p50"] / 1000, "ms")

            for i in range(scale.rounds):
                in_turn(i, [
                    lambda: results.add("B0 p99 8 clients",
                                        plain_p99_ms(aside, scale.seconds, 8),
                                        "ms"),
                    latency,
                    lambda: freshness(results, scale, on, it, keys, owner,
                                      half)])
            results.add("P9 pipeline", machine.peak_rss(it.pid) / 2**20, "MiB")
        stages(results)


def purchases(on):
    return on.number("SELECT count(*) FROM purchases")


def grow(on, count):
    """So that indexes are as large, and miss as often, as those they are held
    against. What there is to do after so many rows is done at once: it would
    take the processors from the next measurement, of the others."""
    while purchases(on) < count:
        bare_intake(on, 500, 2, 5)
    on.sql("VACUUM ANALYZE; CHECKPOINT")
    on.settle()


def stages(results):
    """Where a purchase's microseconds go, of P2."""
    parts = [(name, statistics.median(results.notes[f"P2 {name}"]))
             for name in ("node", "PostgreSQL", "nats-server")]
    results.curves["stages"] = {
        "title": "CPU of a purchase, whole pipeline", "parts": parts,
        "unit": "us"}


class Till:
    """One connection that sells and looks."""

    def __init__(self, it, keys, owner):
        self.connection = http.client.HTTPConnection("127.0.0.1", it.port)
        self.branch, self.key = open(keys).readline().split()
        self.owner = owner

    def call(self, method, path, key, body=None):
        headers = {"Authorization": f"Bearer {key}",
                   "Content-Type": "application/json"}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer, answer.read()

    def sell(self):
        answer, body = self.call("POST", "/purchases", self.key, json.dumps({
            "branch_id": self.branch, "cashier_id": "c", "pos_id": "p",
            "receipt_id": f"fresh-{time.monotonic_ns()}",
            "idempotency_key": str(uuid.uuid4()),
            "items": [{"product_id": "espresso", "unit_price": "2.50",
                       "qty": 1}]}))
        if answer.status != 201:
            raise Failure(f"a sale was answered {answer.status}: {body}")
        return json.loads(body)["event_id"]

    def sees(self, event_id):
        answer, _ = self.call("GET", f"/analytics/summary?after={event_id}",
                              self.owner)
        return answer.getheader("Applied-After") == "true"


def freshness(results, scale, on, it, keys, owner, rate):
    """From a 201 to its sale in the summary, under load."""
    times = []
    on.settle()
    busy = threading.Thread(target=lambda: load(
        it, keys, connections=64, seconds=scale.seconds, rate=rate))
    busy.start()
    till = Till(it, keys, owner)
    while busy.is_alive():
        event_id = till.sell()
        began = time.monotonic()
        if not till.sees(event_id):
            times.append(2000.0)
        else:
            times.append((time.monotonic() - began) * 1000)
        time.sleep(0.01)
    busy.join()
    results.add("P4 p99", quantile(times, 0.99), "ms")
    results.add("P4 p50", quantile(times, 0.5), "ms")
    results.add("P4 parts alone", parts_alone_ms(scale), "ms")


def parts_alone_ms(scale):
    """p99s of one commit here, one acknowledgement, one commit there."""
    seconds = max(1, scale.seconds / 4)
    with servers(wal_files=8) as on:
        oltp = plain_p99_ms(on, seconds, 1)
        script = os.path.join(on.dir, "upsert.sql")
        pathlib.Path(script).write_text(
            "\\set minute random(0, 1439)\n"
            "INSERT INTO minute_sales_by_branch AS t VALUES ('branch-01', "
            "current_date, :minute, 1, 1, 1, 1, 1) ON CONFLICT (branch_id, "
            "day, minute) DO UPDATE SET revenue_sum = t.revenue_sum + 1;\n")
        prefix = os.path.join(on.dir, "upsert")
        pgbench(on, script, 1, seconds, dsn=on.analytics, log=prefix)
        values = [int(line.split()[2]) / 1000
                  for path in pathlib.Path(on.dir).glob("upsert.*")
                  if path.suffix != ".sql"
                  for line in path.read_text().splitlines()]
        acks = 1000 / publish(on, 2000 if scale.smoke else 20_000, 1)
        return oltp + quantile(values, 0.99) + acks


# -- B2, P5 --------------------------------------------------------------------

def publish(on, count, in_flight):
    return float(run([tool("bare_publish"), on.nats, str(count),
                      str(PAYLOAD_BYTES), str(in_flight)]))


def relay(results, scale):
    """B2, P5: a backlog of the outbox, against the bare broker"""
    count = scale.backlog
    with servers() as on:
        keys = on.keys()
        with node(on, "--roles", "intake", broker=False) as it:
            it.wait_ready_to_sell(keys)
            load(it, keys, connections=256, count=count, seconds=600)
        for i in range(scale.rounds):
            in_turn(i, [
                lambda: results.add("B2", publish(on, count, 4000), "1/s"),
                lambda: results.add("P5", drain(on), "1/s")])


def drain(on):
    """Rows published and marked a second, from the first acknowledgement."""
    on.sql("UPDATE outbox_events SET status = 'NEW', sent_at = NULL, "
           "publish_round = publish_round + 1 WHERE status = 'SENT';"
           "UPDATE outbox_floor SET seq = 0, generation = generation + 1;")
    on.sql("VACUUM ANALYZE outbox_events; CHECKPOINT")
    rows = backlog(on)
    with node(on, "--roles", "intake") as it:
        # From the first that is published: not the start of the process.
        wait_for("a first event", lambda: it.metric(
            "tillstream_events_published_total") > 0, 60)
        began = time.monotonic()
        done = it.metric("tillstream_events_marked_total")
        wait_for("the backlog drained", lambda: it.metric(
            "tillstream_events_marked_total") >= rows, 600)
        return (rows - done) / (time.monotonic() - began)


# -- B6, P6 --------------------------------------------------------------------

def apply(results, scale):
    """B6, P6: waiting events applied, against a bare loop"""
    with servers() as on:
        keys = on.keys()
        # Everything is published by a node that does not apply.
        with node(on, "--roles", "intake") as it:
            it.wait_ready_to_sell(keys)
            done = load(it, keys, connections=256, count=scale.backlog,
                        seconds=600)
            wait_for("everything published", lambda: backlog(on) == 0, 600)
        count = done["recorded"]
        best = best_apply(results, scale, on)
        for i in range(scale.rounds):
            in_turn(i, [
                lambda: results.add("B6", bare_apply(on, *best), "1/s"),
                lambda: results.add("P6", catch_up(on, count), "1/s")])


def fresh_aggregates(on):
    on.sql("DROP DATABASE IF EXISTS tillstream_analytics WITH (FORCE)")
    on.sql("CREATE DATABASE tillstream_analytics TEMPLATE template0")
    run([str(machine.PROGRAM), "migrate", *on.flags()])
    on.sql("CHECKPOINT")


def bare_apply(on, batch, sessions):
    fresh_aggregates(on)
    # The loop reads rows that wait.
    on.sql("UPDATE outbox_events SET status = 'NEW'")
    speed = float(run([tool("bare_apply"), on.oltp, on.analytics, str(batch),
                       str(sessions)]))
    on.sql("UPDATE outbox_events SET status = 'SENT'; VACUUM outbox_events")
    return speed


def best_apply(results, scale, on):
    batches = (500,) if scale.smoke else (250, 500, 1000, 2000)
    curves = {f"{sessions} sessions": [
        (batch, bare_apply(on, batch, sessions)) for batch in batches]
        for sessions in (1, 2)}
    results.curves["apply"] = {
        "title": "B6: events a second of a bare loop of the upserts",
        "curves": curves, "x": "events a transaction", "y": "1/s"}
    return max(((batch, int(name[0])) for name, points in curves.items()
                for batch, _ in points),
               key=lambda x: dict(curves[f"{x[1]} sessions"])[x[0]])


def catch_up(on, count):
    fresh_aggregates(on)
    with watch_applied(on) as applied, node(on, "--roles", "shards,query"):
        wait_for("a first event applied", lambda: applied() > 0, 60)
        began, first = time.monotonic(), applied()
        # Looking fifty times a second takes 2 % of the machine.
        wait_for("everything applied", lambda: applied() >= count, 600, 0.1)
        return (count - first) / (time.monotonic() - began)


# -- P7, P8, P9 ----------------------------------------------------------------

PATHS = {
    "summary": "/analytics/summary?date={to}",
    "revenue by hour": "/analytics/revenue?granularity=hour&from={week}&to={to}",
    "revenue by day": "/analytics/revenue?granularity=day&from={month}&to={to}",
    "top products": "/analytics/top-products?period=month&date={to}&limit=50",
    "loyal customers": "/analytics/loyal-customers?limit=50",
    "unique customers": "/analytics/unique-customers?from={month}&to={to}",
    "product": "/analytics/product?product_id=product-000017&from={month}"
               "&to={to}",
    "heatmap": "/analytics/heatmap?from={month}&to={to}",
}


def queries(results, scale):
    """P7, P8, P9, P1: over a short and a long history"""
    with servers() as short, servers() as long:
        with node(short) as it:
            results.add("P8 empty", it.wait_ready(), "s")
        history.aggregate(short, scale.short_history, 30)
        history.aggregate(long, scale.history, 400)
        long.settle()
        owners = {short: short.key("owner"), long: long.key("owner")}

        def measure(name, on):
            with node(on) as it:
                results.add(f"P8 {name}", it.wait_ready(120), "s")
                ask_all(results, scale, on, it, owners[on], name)
                results.add(f"P9 {name}", machine.peak_rss(it.pid) / 2**20,
                            "MiB")

        for i in range(scale.rounds):
            in_turn(i, [lambda: measure("short", short),
                        lambda: measure("long", long)])
        against_sql(results, scale, long, owners[long], scale.history, 400)
        intake_over_history(results, scale, long)


def ask_all(results, scale, on, it, owner, name):
    dates = history.dates(on)
    for title, path in PATHS.items():
        done = json.loads(run([
            tool("load"), "--port", str(it.port), "--get",
            path.format(**dates), "--key", owner, "--connections", "1",
            "--count", str(scale.queries), "--seconds", "600"]))
        results.add(f"P7 {title} {name}", done["latency_us"]["p99"] / 1000,
                    "ms")


def against_sql(results, scale, on, owner, purchases, days):
    """A question over the whole history, and the same by SQL."""
    history.sell(on, purchases, days)
    began = time.monotonic()
    on.sql("SELECT branch_id, business_day, sum(total_minor), count(*) "
           "FROM purchases GROUP BY 1, 2")
    by_sql = time.monotonic() - began
    dates = history.dates(on)
    with node(on) as it:
        it.wait_ready(120)
        done = json.loads(run([
            tool("load"), "--port", str(it.port), "--get",
            "/analytics/revenue?granularity=day&from={all}&to={to}"
            .format(**dates), "--key", owner, "--connections", "1", "--count",
            str(scale.queries), "--seconds", "600"]))
    results.add("P7 whole history, times faster than SQL",
                by_sql * 1e6 / done["latency_us"]["p50"], "x")


# -- P10 -----------------------------------------------------------------------

@contextlib.contextmanager
def held_transaction(on, seconds):
    """Somebody reads for a very long time."""
    session = subprocess.Popen(
        ["psql", "-Xq", "-d", on.oltp], stdin=subprocess.PIPE, text=True)
    session.stdin.write("SET idle_in_transaction_session_timeout = 0;\n"
                        "BEGIN ISOLATION LEVEL REPEATABLE READ;\n"
                        "SELECT pg_current_xact_id(), count(*) FROM chain \\g "
                        f"/dev/null\nSELECT pg_sleep({seconds}) \\g "
                        "/dev/null\n")
    session.stdin.flush()
    try:
        yield
    finally:
        session.kill()
        session.wait()


def poll_buffers(on):
    rows = on.sql("SELECT sum(shared_blks_hit + shared_blks_read) / "
                  "sum(calls) FROM pg_stat_statements WHERE calls > 0 AND "
                  "query LIKE '%FROM outbox_events%ORDER BY seq%LIMIT%' AND "
                  "query NOT LIKE '%count(%'")
    return float(rows[0][0] or 0)


def flatness(results, scale):
    """P10: an old outbox and a transaction that stays open, and a fresh one"""
    more = ["shared_preload_libraries = 'pg_stat_statements'"]
    # The transaction is open while both are measured.
    share = max(scale.seconds, scale.held_seconds / scale.rounds / 2)
    with servers(*more) as old, servers(*more) as fresh:
        pair = []
        for on in (old, fresh):
            on.sql("CREATE EXTENSION pg_stat_statements")
            pair.append(on.keys())
        history.sent_rows(old, scale.sent_rows)
        with held_transaction(old, 3 * scale.rounds * share + 600), \
                node(old) as a, node(fresh) as b:
            a.wait_ready()
            b.wait_ready()

            def sell(name, on, it, keys):
                on.sql("SELECT pg_stat_statements_reset()")
                done, _ = hold(on, it, keys, share)
                results.add(f"P10 {name}", done["per_second"], "1/s")
                # The slow poll looks once a second.
                wait_for("a poll", lambda: poll_buffers(on) > 0, 10)
                results.add(f"P10 buffers {name}", poll_buffers(on), "buffers")

            for i in range(scale.rounds):
                in_turn(i, [lambda: sell("old", old, a, pair[0]),
                            lambda: sell("fresh", fresh, b, pair[1])])


# -- micro ---------------------------------------------------------------------

def micro(results, scale):
    """micro: codecs, money, fingerprint, hop and apply, by Google Benchmark"""
    command = [str(machine.BUILD / "benchmarks" / "micro"),
               "--benchmark_format=json"]
    if scale.smoke:
        command.append("--benchmark_min_time=0.01")
    else:
        command += [f"--benchmark_repetitions={scale.rounds}",
                    "--benchmark_enable_random_interleaving=true"]
    for x in json.loads(run(command))["benchmarks"]:
        if x.get("run_type") == "aggregate":
            continue
        results.add(f"micro {x['run_name']}", x["cpu_time"], x["time_unit"])
        if "allocations" in x:
            results.note(f"micro {x['run_name']} allocations",
                         x["allocations"])


# -- names ---------------------------------------------------------------------

GROUPS = {
    intake: ("B0", "B1", "P1"),
    pipeline: ("P2", "P3", "P4", "P9"),
    relay: ("B2", "P5"),
    apply: ("P6",),
    queries: ("P1", "P7", "P8", "P9"),
    flatness: ("P10",),
    micro: ("MICRO",),
}


def groups_of(names):
    known = {name for group in GROUPS.values() for name in group}
    for name in names:
        if name.upper() not in known:
            raise KeyError(name)
    wanted = {name.upper() for name in names} or known
    return [group for group, has in GROUPS.items() if wanted & set(has)]
