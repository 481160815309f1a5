"""Command line of run.sh."""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import cases  # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402


class Scale:
    """How much of everything."""

    def __init__(self, words):
        smoke = words.smoke
        self.smoke = smoke
        self.rounds = words.rounds or (1 if smoke else 5)
        self.seconds = words.seconds or (1 if smoke else 20)
        self.backlog = 2_000 if smoke else 200_000
        self.history = words.history or (20_000 if smoke else 10_000_000)
        self.short_history = 2_000 if smoke else 100_000
        self.sent_rows = 5_000 if smoke else 5_000_000
        self.held_seconds = 2 if smoke else 600
        self.queries = 20 if smoke else 1_000
        self.batches = (8, 64) if smoke else (1, 8, 32, 64, 128, 256, 500)


def main():
    parser = argparse.ArgumentParser(add_help=True)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--history", type=int)
    parser.add_argument("--out", type=pathlib.Path,
                        default=machine.SOURCE / "build" / "bench")
    parser.add_argument("names", nargs="*")
    words = parser.parse_args()
    scale = Scale(words)
    try:
        groups = cases.groups_of(words.names)
    except KeyError as unknown:
        print(f"there is no benchmark {unknown}; see --help", file=sys.stderr)
        return 2
    results = report.Results()
    failed = False
    for group in groups:
        print(f"{group.__name__}: {group.__doc__.splitlines()[0]}", flush=True)
        try:
            group(results, scale)
        except machine.Failure as why:
            print(f"run.sh: {group.__name__}: {why}", file=sys.stderr)
            failed = True
        finally:
            machine.clean_up()
    report.write(results, words.out, judged=not scale.smoke)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
