"""Servers, nodes and tills of a benchmark, and what they used."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TILLSTREAM_BUILD_DIR",
                                    SOURCE / "build" / "release"))
PROGRAM = BUILD / "tillstream"
# Directories of servers that ended.
left_over = []


def clean_up():
    while left_over:
        shutil.rmtree(left_over.pop(), ignore_errors=True)


# Of 16 MB, that a server is given: about as much as a measurement fills, and as
# much as a server ever has (`max_wal_size`).
WAL_FILES = 96
WAL_FILES_ENOUGH = 256
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# A broker that is never there: the relay waits, so it takes no part.
NO_BROKER = "nats://127.0.0.1:9"


def tool(stem):
    return str(BUILD / "benchmarks" / f"bench_{stem}")


class Failure(Exception):
    """A benchmark that could not be run; the sentence says why."""


def run(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Failure(f"{command[0]} failed: {done.stderr[-2000:]}"
                      f"{done.stdout[-500:]}")
    return done.stdout


# -- processes -----------------------------------------------------------------

def _stat(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2:].split()


def cpu_of(pid):
    """CPU seconds of a process, with those of its children that ended."""
    fields = _stat(pid)
    return sum(map(int, fields[11:15])) / TICK if fields else 0.0


def tree_of(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(entry)):
            children.setdefault(int(fields[1]), []).append(int(entry))
    result, todo = [], [pid]
    while todo:
        result.append(todo.pop())
        todo += children.get(result[-1], [])
    return result


def cpu_of_tree(pid):
    return sum(cpu_of(x) for x in tree_of(pid))


def peak_rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024


def context_switches(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for number in re.findall(r"ctxt_switches:\s+(\d+)",
                                 (task / "status").read_text()):
            total += int(number)
    return total


# -- servers -------------------------------------------------------------------

class Servers:
    """A private PostgreSQL and nats-server, durable, under a directory that
    goes with them."""

    def __init__(self, *settings, wal_files=WAL_FILES):
        self.dir = tempfile.mkdtemp(prefix="tillstream-bench-")
        # The servers run as a user of their own when we are root.
        os.chmod(self.dir, 0o755)
        self.settings = settings
        self.start()
        self.make_wal_files(wal_files)

    def make_wal_files(self, count):
        """A server that has run for a while has its WAL files and uses them
        again. The first commits in a new one wait for the file system."""
        self.sql("SET wal_init_zero = on;\n"
                 + "SELECT pg_logical_emit_message(false, '', ''); "
                   "SELECT pg_switch_wal();\n" * count + "CHECKPOINT")

    def settle(self):
        """What was written before goes to the disk first: the kernel writes
        what is half a minute old in one go, into the next measurement."""
        os.sync()

    def start(self):
        self.process = subprocess.Popen(
            [tool("servers"), os.path.join(self.dir, "data"), *self.settings],
            stdout=subprocess.PIPE, text=True)
        told = {}
        for line in self.process.stdout:
            name, _, value = line.strip().partition(" ")
            if name == "ready":
                break
            told[name] = value
        else:
            raise Failure("the servers did not start")
        self.oltp = told["oltp_dsn"]
        self.analytics = told["analytics_dsn"]
        self.nats = told["nats_url"]
        self.postgres_pid = int(told["postgres_pid"])
        self.nats_pid = int(told["nats_pid"])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)

    def close(self):
        if self.process.poll() is None:
            self.stop()
        # Not now: a file system that discards what is deleted holds up the
        # next measurement's commits for a quarter of a second.
        left_over.append(self.dir)

    def migrate(self, branches=3):
        chain = os.path.join(self.dir, "chain.json")
        with open(chain, "w") as out:
            json.dump({"name": "Bench", "currency": "EUR", "branches": [
                {"id": f"branch-{i:02}", "name": f"Branch {i}",
                 "time_zone": "Europe/Berlin", "day_start": "00:00"}
                for i in range(1, branches + 1)]}, out)
        run([str(PROGRAM), "migrate", "--chain", chain, *self.flags()])
        self.branches = [f"branch-{i:02}" for i in range(1, branches + 1)]

    def keys(self):
        """A file of a till's key for each branch; makes them."""
        path = os.path.join(self.dir, "keys")
        with open(path, "w") as out:
            for branch in self.branches:
                secret = run([str(PROGRAM), "key", "create", "--role", "till",
                              "--branch", branch, *self.flags()]).strip()
                out.write(f"{branch} {secret}\n")
        return path

    def key(self, role):
        return run([str(PROGRAM), "key", "create", "--role", role,
                    *self.flags()]).strip()

    def flags(self, broker=True):
        return ["--oltp-dsn", self.oltp, "--analytics-dsn", self.analytics,
                "--nats-url", self.nats if broker else NO_BROKER]

    def sql(self, text, dsn=None):
        """Rows as lists of texts."""
        out = run(["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1",
                   "-d", dsn or self.oltp], input=text)
        return [line.split("\t") for line in out.splitlines() if line]

    def number(self, text, dsn=None):
        return float(self.sql(text, dsn)[0][0])

    @contextlib.contextmanager
    def watch(self, text, dsn=None):
        """A function that asks for one number again and again, over one
        session: starting psql each time costs half of a core."""
        psql = subprocess.Popen(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn or self.oltp],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def ask():
            psql.stdin.write(text + ";\n")
            psql.stdin.flush()
            answer = psql.stdout.readline()
            if not answer:
                raise Failure(f"psql ended: {text}")
            return float(answer)

        try:
            yield ask
        finally:
            psql.kill()
            psql.wait()


@contextlib.contextmanager
def servers(*settings, branches=3, wal_files=WAL_FILES):
    it = Servers(*settings, wal_files=wal_files)
    try:
        it.migrate(branches)
        yield it
    finally:
        it.close()


# -- nodes ---------------------------------------------------------------------

class Node:
    """A `tillstream serve`."""

    def __init__(self, on, *flags, broker=True):
        self.log = open(os.path.join(on.dir, "node.log"), "a")
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [str(PROGRAM), "serve", "--port", "0", "--log-level", "warning",
             *on.flags(broker), *flags],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.process.stdout:
            if found := re.search(r"ready: http://[^:]+:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise Failure("the node did not start: "
                          + open(self.log.name).read()[-2000:])

    @property
    def pid(self):
        return self.process.pid

    def get(self, path, key=None, patience=30):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.urlopen(request, timeout=patience) as answer:
            return answer.read().decode()

    def wait_ready(self, patience=60):
        """@returns seconds since the process was started"""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with contextlib.suppress(urllib.error.URLError, OSError):
                self.get("/readyz")
                return time.monotonic() - self.began
            time.sleep(0.01)
        raise Failure("the node is not ready")

    def wait_ready_to_sell(self, keys, patience=60):
        """Ready as far as tills go: without a broker a node never is."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            with contextlib.suppress(Failure):
                load(self, keys, connections=1, count=1)
                return
            time.sleep(0.05)
        raise Failure("the node does not sell")

    def metric(self, name):
        """Sum over all labels."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            if re.match(re.escape(name) + r"[ {]", line):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextlib.contextmanager
def node(on, *flags, broker=True):
    it = Node(on, *flags, broker=broker)
    try:
        yield it
    finally:
        if it.process.poll() is None:
            it.stop()


def load(node, keys, **flags):
    command = [tool("load"), "--port", str(node.port), "--keys", keys]
    for name, value in flags.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return json.loads(run(command))


def wait_for(what, condition, patience, pace=0.02):
    """Polls until `condition()` is true. @returns the seconds it took"""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience:
            raise Failure(f"waited {patience} s for: {what}")
        time.sleep(pace)
    return time.monotonic() - began
