"""Results: numbers of rounds, ratios, a table and plots."""

import datetime
import html
import json
import os
import pathlib
import platform
import statistics
import subprocess

import machine


class Results:
    """Samples by name: one number a round."""

    def __init__(self):
        self.samples = {}
        self.units = {}
        self.notes = {}
        self.curves = {}

    def add(self, name, value, unit):
        self.samples.setdefault(name, []).append(value)
        self.units[name] = unit
        print(f"    {name}: {value:.4g} {unit}", flush=True)

    def note(self, name, value):
        """What belongs to a figure and is no figure of its own."""
        self.notes.setdefault(name, []).append(value)

    def has(self, name):
        return name in self.samples

    def median(self, name):
        return statistics.median(self.samples[name])

    def pairs(self, name, base):
        """Ratios round by round: each round ran both, in turn."""
        return [x / y for x, y in zip(self.samples[name], self.samples[base])
                if y]


def about_machine():
    def first(path, word):
        try:
            for line in pathlib.Path(path).read_text().splitlines():
                if line.startswith(word):
                    return line.split(":", 1)[1].strip()
        except OSError:
            pass
        return "?"

    def output(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True,
                                  cwd=machine.SOURCE)
        except FileNotFoundError:
            return "?"  # The sources came without git.
        return done.stdout.strip() or "?"

    return {
        "when": datetime.datetime.now(datetime.timezone.utc)
                .isoformat(timespec="seconds"),
        "commit": output("git", "describe", "--always", "--dirty"),
        "cpu": first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": first("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
    }


# What each ratio has to reach: name, base, 'at least' or 'at most', must, aim.
GOALS = [
    ("P1 intake, 256 connections", "P1 256", "B0", ">=", 1.3, 2.0),
    ("P1 intake, 256, against the ceiling", "P1 256", "B1 at its batch", ">=",
     None, 0.8),
    ("P1 intake, 64 connections", "P1 64", "B0", ">=", None, None),
    ("P1 over a long history", "P1 history", "B0 history", ">=", 1.3, 2.0),
    ("P2 whole pipeline", "P2", "B0", ">=", 0.7, 1.3),
    ("P3 latency, p99", "P3 p99", "B0 p99 8 clients", "<=", 3.0, 1.0),
    ("P4 freshness, p99", "P4 p99", "P4 parts alone", "<=", 30.0, 10.0),
    ("P5 relay", "P5", "B2", ">=", 0.2, 0.5),
    ("P6 apply", "P6", "B6", ">=", 0.7, 0.95),
    ("P8 start over the long history", "P8 long", "P8 empty", "<=", None, 2.0),
    ("P9 memory over histories", "P9 long", "P9 short", "<=", None, 1.3),
    ("P10 flatness", "P10 old", "P10 fresh", ">=", 0.8, 0.95),
    ("P10 buffers a poll", "P10 buffers old", "P10 buffers fresh", "<=", None,
     1.2),
]

# Figures with a ceiling of their own: name, must, aim.
CEILINGS = [
    ("P8 long", 10.0, None),
    ("P9 pipeline", 600.0, 200.0),
    ("P9 long", 600.0, 200.0),
]


def judge(value, how, goal):
    if goal is None:
        return "-"
    met = value >= goal if how == ">=" else value <= goal
    return f"{goal:g} {'met' if met else 'missed'}"


def spread(values):
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return (f"{statistics.median(values):.3g} "
            f"({min(values):.3g} to {max(values):.3g})")


def ratio_rows(results):
    rows = []
    for title, name, base, how, must, aim in GOALS:
        if results.has(name) and results.has(base):
            ratios = results.pairs(name, base)
            if ratios:
                middle = statistics.median(ratios)
                rows.append((title, spread(ratios), judge(middle, how, must),
                             judge(middle, how, aim)))
    for name in results.samples:
        if name.startswith("P7 ") and name.endswith(" long"):
            base = name.replace(" long", " short")
            if results.has(base):
                ratios = results.pairs(name, base)
                middle = statistics.median(ratios)
                rows.append((f"{name[:-5]}: long against short history",
                             spread(ratios), judge(middle, "<=", 2.0),
                             judge(middle, "<=", 1.2)))
                rows.append((f"{name[:-5]}: p99, ms",
                             spread(results.samples[name]),
                             judge(results.median(name), "<=", 5.0),
                             judge(results.median(name), "<=", 1.0)))
    for name, must, aim in CEILINGS:
        if results.has(name):
            middle = results.median(name)
            rows.append((f"{name}, {results.units[name]}",
                         spread(results.samples[name]),
                         judge(middle, "<=", must), judge(middle, "<=", aim)))
    return rows


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |",
             "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def write(results, out, judged=True):
    out.mkdir(parents=True, exist_ok=True)
    about = about_machine()
    (out / "results.json").write_text(json.dumps({
        "machine": about, "units": results.units, "samples": results.samples,
        "notes": results.notes, "curves": results.curves}, indent=1))
    text = ["# Results\n", table(("", ""), about.items()), "\n## Figures\n",
            table(("figure", "median (range)", "unit", "rounds"),
                  [(name, spread(values), results.units[name], len(values))
                   for name, values in results.samples.items()])]
    rows = ratio_rows(results) if judged else []
    if rows:
        text += ["\n## Ratios of the same rounds, and limits\n",
                 table(("", "ratio", "must", "aim"), rows)]
    report = "\n".join(text) + "\n"
    (out / "report.md").write_text(report)
    draw(results, out)
    print("\n" + report + f"\nWritten to {out}")


# -- plots ---------------------------------------------------------------------

COLOURS = ("#2f6f8f", "#c8553d", "#7a9e7e", "#b08968", "#6d597a", "#8d99ae")


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} '
            f'{height}" font-family="sans-serif" font-size="12">'
            f'<rect width="{width}" height="{height}" fill="white"/>'
            + "".join(parts) + "</svg>\n")


def label(x, y, text, anchor="start", **more):
    style = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>'
            f'{html.escape(str(text))}</text>')


def bars(title, rows, unit):
    """Horizontal bars with the range of the rounds: (name, values)."""
    top = max(max(values) for _, values in rows) or 1
    left, width, height = 170, 460, 24
    parts = [label(10, 20, f"{title} [{unit}]", font_weight="bold")]
    for i, (name, values) in enumerate(rows):
        y = 36 + i * height
        middle = statistics.median(values)
        scale = width / top
        parts.append(label(left - 8, y + 13, name, "end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{middle * scale:.1f}" '
                     f'height="16" fill="{COLOURS[i % len(COLOURS)]}"/>')
        parts.append(f'<line x1="{left + min(values) * scale:.1f}" '
                     f'x2="{left + max(values) * scale:.1f}" y1="{y + 8}" '
                     f'y2="{y + 8}" stroke="black"/>')
        parts.append(label(left + max(middle, max(values)) * scale + 6, y + 13,
                           f"{middle:.4g}"))
    return svg(left + width + 80, 48 + len(rows) * height, parts)


def lines(title, curves, x_label, y_label):
    """Curves by name: [(x, y)…]; x is drawn by its rank."""
    xs = sorted({x for points in curves.values() for x, _ in points})
    top = max(y for points in curves.values() for _, y in points) or 1
    left, width, height = 70, 520, 240

    def at(x, y):
        step = width / max(1, len(xs) - 1)
        return left + xs.index(x) * step, 40 + height * (1 - y / top)

    parts = [label(10, 20, title, font_weight="bold"),
             label(left + width / 2, height + 78, x_label, "middle"),
             label(10, 36, y_label)]
    shown = xs if len(xs) <= 16 else xs[::len(xs) // 12]
    for x in shown:
        parts.append(label(at(x, 0)[0], height + 58, f"{x:g}", "middle"))
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = at(xs[0], share * top)[1]
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" '
                     f'y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(label(left - 6, y + 4, f"{share * top:.3g}", "end"))
    for i, (name, points) in enumerate(curves.items()):
        path = " ".join("%.1f,%.1f" % at(x, y) for x, y in points)
        colour = COLOURS[i % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" '
                     f'stroke="{colour}" stroke-width="2"/>')
        parts.append(label(left + width + 8, 52 + i * 16, name, fill=colour))
    return svg(left + width + 170, height + 90, parts)


def stack(title, parts_of, unit):
    """One bar made of named parts: (name, value)."""
    total = sum(value for _, value in parts_of) or 1
    width, x = 640, 10.0
    parts = [label(10, 20, f"{title}: {total:.0f} {unit}", font_weight="bold")]
    for i, (name, value) in enumerate(parts_of):
        share = value / total * width
        colour = COLOURS[i % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="32" width="{share:.1f}" '
                     f'height="36" fill="{colour}"/>')
        parts.append(f'<rect x="10" y="{82 + i * 20}" width="12" height="12" '
                     f'fill="{colour}"/>')
        parts.append(label(28, 92 + i * 20,
                           f"{name}: {value:.1f} {unit} "
                           f"({100 * value / total:.0f} %)"))
        x += share
    return svg(width + 20, 96 + len(parts_of) * 20, parts)


def draw(results, out):
    rates = [(name, values) for name, values in results.samples.items()
             if results.units[name] == "1/s"]
    if rates:
        (out / "rates.svg").write_text(bars("A second", rates, "1/s"))
    times = [(name, values) for name, values in results.samples.items()
             if results.units[name] == "ms"]
    if times:
        (out / "latencies.svg").write_text(bars("Latencies", times, "ms"))
    for name, curve in results.curves.items():
        (out / f"{name}.svg").write_text(
            stack(curve["title"], curve["parts"], curve["unit"])
            if "parts" in curve else
            lines(curve["title"], curve["curves"], curve["x"], curve["y"]))
