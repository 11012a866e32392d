#!/usr/bin/env python3
"""Tools: the house rules of CONTRIBUTING.md as a test.

    tools/house_rules.py [--self-test]

Prints one line for each breach, "path:line: what", and exits with 1 when there is any. --self-test proves that each rule
catches what it is there for.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS = ["transport", "actors", "sync", "pool"]  # from the ground up
LINE_LIMIT = 100
HEADER_LIMIT = 400
SOURCE_LIMIT = 500
TEST_LIMIT = 700
FUNCTION_LIMIT = 70
CODE = {".hpp", ".cpp"}
TEXT = CODE | {".md", ".cmake", ".txt", ".py", ".sh", ".json", ".capnp", ".in", ".yml", ".tsv", ""}
THIRD_PARTY = re.compile(
    r"(caf|capnp|kj|spdlog|fmt|asio|boost|openssl|gtest|gmock|benchmark|CLI|nlohmann|curl|gumbo)[/.]|httplib\.h")
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b|(?i:\bfor n" r"ow\b|\bplace" r"holder\b)")
ABSOLUTE = re.compile(r"(?<![\w.$}])/(work|home|root|Users)/")
LONG_DASH = "\u2014"
FUNCTION_END = re.compile(r"^( *)\}")
NOT_A_FUNCTION = re.compile(r"^\s*(namespace|class|struct|enum|union|extern|export|template\s*<[^>]*>\s*(class|struct))\b|=\s*\{$|\[\]\s*\{$")


def files(root):
    """What git would commit, or, outside a checkout, everything that is no build directory."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                             capture_output=True, text=True, check=True).stdout
        names = sorted(set(out.splitlines()))
    except (OSError, subprocess.CalledProcessError):
        names = sorted(str(p.relative_to(root)) for p in root.rglob("*")
                       if not any(part in (".git", "build") for part in p.relative_to(root).parts))
    return [n for n in names if (root / n).is_file()]


def layer_of(name):
    top = name.split("/")[0]
    return top if top in LAYERS else None


def check_text(name, lines):
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield number, "unfinished work is an issue, not a comment: " + line.strip()[:60]
        if ABSOLUTE.search(line):
            yield number, "absolute path of one machine"
        if LONG_DASH in line:
            yield number, "em dash; use a comma, a colon or two sentences"
        if line.rstrip() != line and not name.endswith(".tsv"):
            yield number, "space at the end of the line"
    if lines and lines[-1] == "":
        yield len(lines), "empty line at the end of the file"


def check_shape(name, lines):
    limit = HEADER_LIMIT if name.endswith(".hpp") else TEST_LIMIT if name.startswith("tests/") else SOURCE_LIMIT
    if len(lines) > limit:
        yield len(lines), f"{len(lines)} lines, the limit is {limit}: split it by responsibility"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LIMIT:
            yield number, f"{len(line)} columns, the limit is {LINE_LIMIT}"
    layer = layer_of(name)
    if not lines or not lines[0].startswith("// "):
        yield 1, "the first line says which room of the house this is"
    elif layer and not lines[0].startswith(f"// Layer {layer}: "):
        yield 1, f'the first line begins with "// Layer {layer}: "'
    if name.endswith(".hpp") and "#pragma once" not in lines:
        yield 1, "#pragma once is missing"


def check_functions(lines):
    """Functions by indentation, which clang-format keeps: from the line that opens a body to its closing brace."""
    opened = []
    for number, line in enumerate(lines, 1):
        if line.endswith("{") and not line.lstrip().startswith(("//", "#")):
            indent = len(line) - len(line.lstrip())
            head = number
            # A signature over several lines begins where the indentation is smaller than that of its rest.
            while head > 1 and lines[head - 1].startswith("    ") and lines[head - 2].strip():
                previous = lines[head - 2]
                if previous.rstrip().endswith((";", "}", "{")) or previous.lstrip().startswith("//"):
                    break
                head -= 1
            start = lines[head - 1]
            opened.append((indent, number, bool(NOT_A_FUNCTION.search(start)) or "(" not in "".join(lines[head - 1:number])))
        close = FUNCTION_END.match(line)
        if close and opened:
            indent = len(close.group(1))
            while opened and opened[-1][0] > indent:
                opened.pop()
            if opened and opened[-1][0] == indent:
                _, start, other = opened.pop()
                length = number - start - 1
                if not other and length > FUNCTION_LIMIT:
                    yield start, f"function of {length} lines, the limit is {FUNCTION_LIMIT}"
                if line.rstrip().endswith("{"):
                    opened.append((indent, number, other))


def check_includes(name, lines, owners):
    layer = layer_of(name)
    public = "/include/passel/" in name
    for number, line in enumerate(lines, 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        target = found.group(1)
        if public and THIRD_PARTY.match(target):
            yield number, f"public header includes {target}; third-party headers stay in src/"
        if target.startswith("caf/") and not name.startswith(("actors/src/", "tests/", "tools/bench/")):
            yield number, "CAF is included in actors/src alone"
        if target.startswith(("capnp/", "kj/")) and not name.startswith(("transport/src/", "tests/", "tools/bench/")):
            yield number, "Cap'n Proto is included in transport/src alone"
        if target.startswith("openssl/") and not name.startswith(("transport/src/", "tests/")):
            yield number, "OpenSSL is included in transport/src alone"
        if target.startswith("spdlog/") and name != "transport/src/log.cpp":
            yield number, "spdlog is included in transport/src/log.cpp alone"
        if layer and target.startswith("passel/"):
            owner = owners.get(target)
            if owner and LAYERS.index(owner) > LAYERS.index(layer):
                yield number, f"{layer} is below {owner} and must not include {target}"
        if name.startswith("examples/") and target.startswith("passel/detail/"):
            yield number, "examples use the public headers only"
        if layer and public and "/src/" in target:
            yield number, "a public header reaches into src/"


def check_umbrella(names, read):
    """<passel/passel.hpp> is everything: each public header that is not in detail/ and not for tests."""
    umbrella = "pool/include/passel/passel.hpp"
    if umbrella not in names:
        return
    text = read(umbrella)
    for name in names:
        found = re.fullmatch(r"\w+/include/(passel/\w+\.hpp)", name)
        if found and found.group(1) not in ("passel/passel.hpp", "passel/testing.hpp") and f"<{found.group(1)}>" not in text:
            yield 1, f"{found.group(1)} is not included"


def breaches(root):
    names = files(root)
    owners = {}
    for name in names:
        if layer_of(name) and "/include/passel/" in name:
            owners["passel/" + name.split("/include/passel/")[1]] = layer_of(name)

    def read(name):
        return (root / name).read_text(encoding="utf-8", errors="replace")

    for name in names:
        path = pathlib.PurePosixPath(name)
        if path.suffix not in TEXT or name.startswith(("tests/golden/", "tests/transport/golden/")):
            continue
        if path.suffix == "" and not read(name).startswith("#!"):
            continue
        lines = read(name).split("\n")
        if lines[-1] == "":
            lines.pop()
        elif lines:
            yield name, len(lines), "no newline at the end of the file"
        found = list(check_text(name, lines))
        if path.suffix in CODE:
            found += check_shape(name, lines)
            found += check_functions(lines)
            found += check_includes(name, lines, owners)
        for number, what in sorted(found):
            yield name, number, what
    for number, what in check_umbrella(names, read):
        yield "pool/include/passel/passel.hpp", number, what


def self_test():
    long_function = "// Layer pool: x.\nint f() {\n" + "  g();\n" * 71 + "}\n"
    samples = {
        "pool/src/long_line.cpp": ("// Layer pool: x.\n// " + "x" * 100 + "\n", "columns"),
        "pool/src/room.cpp": ("int x;\n", "first line"),
        "pool/src/layer.cpp": ("// Layer actors: x.\n", "first line"),
        "pool/src/unfinished.cpp": ("// Layer pool: x.\n// TO" "DO\n", "unfinished"),
        "pool/src/path.cpp": ("// Layer pool: x.\n// see /ho" "me/me\n", "absolute"),
        "pool/src/dash.cpp": ("// Layer pool: x \u2014 y.\n", "em dash"),
        "pool/src/space.cpp": ("// Layer pool: x. \n", "space at the end"),
        "pool/src/newline.cpp": ("// Layer pool: x.", "no newline"),
        "pool/src/function.cpp": (long_function, "function of 71"),
        "pool/src/caf.cpp": ("// Layer pool: x.\n#include <caf/all.hpp>\n", "CAF"),
        "pool/src/tls.cpp": ("// Layer pool: x.\n#include <openssl/ssl.h>\n", "OpenSSL is"),
        "pool/src/capnp.cpp": ("// Layer pool: x.\n#include <capnp/any.h>\n", "Cap'n"),
        "pool/src/log.cpp": ("// Layer pool: x.\n#include <spdlog/spdlog.h>\n", "spdlog"),
        "pool/src/size.cpp": ("// Layer pool: x.\n" * 501, "the limit is 500"),
        "pool/include/passel/size.hpp": ("// Layer pool: x.\n#pragma once\n" + "\n" * 398 + "// x\n", "the limit is 400"),
        "pool/include/passel/once.hpp": ("// Layer pool: x.\n", "pragma"),
        "pool/include/passel/third.hpp": ("// Layer pool: x.\n#pragma once\n#include <fmt/core.h>\n", "third-party"),
        "pool/include/passel/top.hpp": ("// Layer pool: x.\n#pragma once\n", None),
        "pool/include/passel/passel.hpp": ("// Layer pool: x.\n#pragma once\n", "passel/top.hpp is not included"),
        "actors/src/up.cpp": ("// Layer actors: x.\n#include <passel/top.hpp>\n", "is below"),
        "examples/x.cpp": ("// Example.\n#include <passel/detail/x.hpp>\n", "examples use"),
        "pool/src/fine.cpp": ("// Layer pool: x.\nint f() {\n" + "  g();\n" * 70 + "}\n", None),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, (text, _) in samples.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found = {}
        for name, _, what in breaches(root):
            found.setdefault(name, []).append(what)
    wrong = 0
    for name, (_, expected) in samples.items():
        got = found.get(name, [])
        if (expected is None) != (not got) or (expected and not any(expected in what for what in got)):
            print(f"self-test: {name}: expected {expected!r}, found {got}")
            wrong += 1
    return wrong


def main():
    if "--self-test" in sys.argv[1:]:
        return 1 if self_test() else 0
    count = 0
    for name, number, what in breaches(ROOT):
        print(f"{name}:{number}: {what}")
        count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
