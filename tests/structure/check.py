#!/usr/bin/env python3
"""Checks how the code is laid out: rooms, arrows between them, sizes.

    tests/structure/check.py [SOURCE_DIR]

Prints one line a violation and ends with 1 when there is one. A violation that
is meant stands in EXCEPTIONS with its reason; one that is meant no longer is a
violation itself. decisions/0020 says why the rules are as they are.
"""

import json
import pathlib
import re
import subprocess
import sys

FLOORS = ("messages", "storage", "actors")
LINES_MAX = 600
MEMBERS_MAX = 15
MAIN_USES = ("actors/commands",)

# Headers of a library -> the only rooms that may include them.
LIBRARIES = {
    r"pqxx/|libpq-fe\.h": ("storage/postgres",),
    r"nats/|nats\.h": ("storage/nats",),
    r"boost/(asio|beast)": ("actors/http",),
    r"simdjson": ("messages/codec",),
    r"caf/all\.hpp": (),
}

# What is as it is on purpose. Key: the violation up to its first ' ('.
EXCEPTIONS = {
    "circle: actors/aggregation: aggregate_shard aggregate_shard_steps":
        "one actor in three sources; the steps are their common header",
    "lines: actors/aggregation/shard_manager.cpp":
        "608 lines until QUERY's single form of a query is removed",
    "members: analytics_plan": "row: what a query asks for, once it is read",
    "members: settings": "options: one member for each flag",
    "members: purchase_event": "row: what an event says",
    "members: sale_columns": "row: the columns of one INSERT",
}


INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)
ROOM = re.compile(r"tillstream_room\(\s*(\S+)(.*?)\)", re.DOTALL)
KEYWORDS = ("USES", "LINK", "PRECOMPILE", "PRECOMPILE_FROM", "SOURCES")


def declared_rooms(root):
    """Room -> its words by keyword, as CMake gets them."""
    rooms = {}
    for floor in FLOORS:
        text = (root / floor / "CMakeLists.txt").read_text()
        text = re.sub(r"#.*", "", text)
        for name, body in ROOM.findall(text):
            words, key = {k: [] for k in KEYWORDS}, None
            for word in body.split():
                if word in KEYWORDS:
                    key = word
                elif key:
                    words[key].append(word)
            rooms[name] = words
    return rooms


def source_files(root):
    """Path inside the project -> the headers that it includes."""
    files = {}
    for floor in FLOORS:
        for path in sorted((root / floor).rglob("*")):
            if path.suffix in (".cpp", ".hpp"):
                name = path.relative_to(root).as_posix()
                files[name] = INCLUDE.findall(path.read_text())
    return files


def room_of(name):
    return name.rsplit("/", 1)[0]


def stem_of(name):
    return name.rsplit("/", 1)[1].rsplit(".", 1)[0]


def check_rooms(root, rooms, files):
    """Every file is in a room, every source is built, every room explained."""
    for name in files:
        if room_of(name) not in rooms and name != "actors/main.cpp":
            yield f"room: {name} (is in no room)"
        elif name.endswith(".cpp") and name != "actors/main.cpp":
            if name.rsplit("/", 1)[1] not in rooms[room_of(name)]["SOURCES"]:
                yield f"room: {name} (is not among the SOURCES of its room)"
    for room in rooms:
        if not (root / room / "README.md").is_file():
            yield f"readme: {room} (has no README.md)"


def check_arrows(rooms, files):
    """A room includes only the headers of rooms that it declares itself."""
    for name, includes in files.items():
        room = room_of(name)
        for header in includes:
            if header not in files or room_of(header) == room:
                continue
            allowed = (rooms[room]["USES"] if room in rooms
                       else MAIN_USES if name == "actors/main.cpp" else ())
            if room_of(header) in allowed:
                continue
            yield f"arrow: {name} -> {header} (is not declared)"


def circles(graph):
    """Strongly connected sets of more than one node (Tarjan, 1972)."""
    index, low, stack, result = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            members = []
            while not members or members[-1] != node:
                members.append(stack.pop())
            if len(members) > 1:
                result.append(sorted(members))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return result


def check_circles(rooms, files):
    """No circle of stems inside a room, none of rooms either."""
    for circle in circles({r: words["USES"] for r, words in rooms.items()}):
        yield f"circle: rooms: {' '.join(circle)}"
    for room in rooms:
        graph = {}
        for name, includes in files.items():
            if room_of(name) == room:
                others = {stem_of(x) for x in includes
                          if x in files and room_of(x) == room}
                graph.setdefault(stem_of(name), set()).update(others)
        for circle in circles(graph):
            yield f"circle: {room}: {' '.join(circle)}"


def check_lines(root, files):
    for name in files:
        if name.startswith(("actors/", "storage/")):
            lines = (root / name).read_text().count("\n")
            if lines > LINES_MAX:
                yield f"lines: {name} ({lines}, at most {LINES_MAX})"


def check_members(root, files):
    """Data members that are not static, by class; options are excepted."""
    command = ["ctags", "--language-force=C++", "--kinds-C++=m", "-o", "-",
               "--fields-C++=+{properties}", "--output-format=json", "-L", "-"]
    tags = subprocess.run(command, cwd=root, input="\n".join(files), text=True,
                          capture_output=True, check=True).stdout
    members = {}
    for line in tags.splitlines():
        tag = json.loads(line)
        if tag.get("kind") != "member" or "scope" not in tag:
            continue
        if "static" not in tag.get("properties", "").split(","):
            where = (tag["path"], tag["scope"].rsplit("::", 1)[-1])
            members.setdefault(where, set()).add(tag["name"])
    for (path, name), names in sorted(members.items()):
        if len(names) > MEMBERS_MAX and not name.endswith("_options"):
            yield (f"members: {name} ({len(names)} in {path}, "
                   f"at most {MEMBERS_MAX})")


def check_libraries(files):
    for name, includes in files.items():
        for header in includes:
            for pattern, allowed in LIBRARIES.items():
                if re.match(pattern, header) and room_of(name) not in allowed:
                    yield f"library: {name} includes {header}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                        else pathlib.Path(__file__).parents[2])
    rooms, files = declared_rooms(root), source_files(root)
    found = {}
    for check in (check_rooms(root, rooms, files), check_arrows(rooms, files),
                  check_circles(rooms, files), check_lines(root, files),
                  check_members(root, files), check_libraries(files)):
        for violation in check:
            found[violation.split(" (")[0]] = violation
    wrong = [text for key, text in found.items()
             if key not in EXCEPTIONS]
    wrong += [f"exception: '{key}' is not needed any more"
              for key in EXCEPTIONS if key not in found]
    for text in wrong:
        print(text)
    print(f"{len(rooms)} rooms, {len(files)} files, {len(wrong)} violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
