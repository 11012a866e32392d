#!/usr/bin/env python3
"""Parity: checks coverage.tsv against the test executables.

    check_coverage.py COVERAGE.TSV [--tests FILE] [--self-test]

FILE names one test executable a line, or "ctest <name>" for a CTest test that is no googletest case. Each row of the
table must have a known id exactly once, a covered row must name at least one test, and each named test must exist.
"""
import collections
import re
import subprocess
import sys

COLUMNS = ["id", "class", "title", "status", "tests", "note"]
# How many rows each group has; they are numbered from 01 without gaps.
GROUPS = {
    "THR-": 27, "TMR-": 3, "LCK-": 10, "RLK-": 3, "CND-": 7, "EVT-": 4, "SEM-": 6, "BSM-": 1, "BAR-": 9,
    "QUE-": 16, "PRC-": 34, "CTX-": 10, "MPQ-": 15, "CON-": 24, "SHV-": 14, "SHM-": 9, "SYN-": 14, "MGR-": 37,
    "POL-": 25, "ASR-": 5, "TPL-": 4, "FUT-": 38, "UTL-": 12, "CLM-": 17,
    "X0-": 18, "X1-": 17, "X2-": 6, "X3-": 28, "X4-": 4, "X9-": 2,
    "F-": 34, "N-": 64, "D-": 21,
}
CLASSES = {"MUST", "EXPECTED", "EXTRA", "EXAMPLE", "DECISION"}
STATUSES = {"covered", "open", "not-applicable"}


def listed(executable):
    """The cases of one executable as Suite.Case; of typed and parameterised ones the plain names."""
    out = subprocess.run([executable, "--gtest_list_tests"], capture_output=True, text=True, check=True).stdout
    suites = []
    for line in out.splitlines():
        name = line.split("#")[0].strip()
        if not name:
            continue
        if not line.startswith(" "):
            # "Suite.", "Suite/Type.", "Instance/Suite." or "Instance/Suite/Type.": which part is the suite is not said.
            suites = name.rstrip(".").split("/")
        else:
            for suite in suites:
                yield f"{suite}.{name.split('/')[0]}"


def known_tests(path):
    names = set()
    with open(path, encoding="utf-8") as file:
        for line in filter(None, (raw.strip() for raw in file)):
            if line.startswith("ctest "):
                names.add(line.split(" ", 1)[1])
            else:
                names.update(listed(line))
    return names


def problems(text, tests):
    """Yields one sentence for each thing that is wrong. `tests` None: names are not looked up."""
    lines = text.rstrip("\n").split("\n")
    if lines[0].split("\t") != COLUMNS:
        yield f"the first line must name the columns {COLUMNS}"
        return
    wanted = {f"{group}{n:02}" for group, count in GROUPS.items() for n in range(1, count + 1)}
    seen = collections.Counter()
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(COLUMNS):
            yield f"line {number}: {len(cells)} columns instead of {len(COLUMNS)}"
            continue
        row = dict(zip(COLUMNS, cells))
        seen[row["id"]] += 1
        where = f"line {number}, {row['id']}"
        named = [t.strip() for t in row["tests"].split(",") if t.strip()]
        if row["id"] not in wanted:
            yield f"{where}: unknown id"
        if row["class"] not in CLASSES:
            yield f"{where}: unknown class {row['class']!r}"
        if row["status"] not in STATUSES:
            yield f"{where}: unknown status {row['status']!r}"
        if row["status"] == "covered" and not named:
            yield f"{where}: covered, but no test is named"
        if row["status"] != "covered" and not row["note"]:
            yield f"{where}: {row['status']} without a reason"
        for test in named:
            if tests is not None and test not in tests:
                yield f"{where}: there is no test {test}"
    for name in sorted(wanted - set(seen)):
        yield f"{name} is missing"
    for name, count in seen.items():
        if count > 1:
            yield f"{name} stands there {count} times"


def summary(text):
    counts = collections.Counter()
    for line in text.rstrip("\n").split("\n")[1:]:
        cells = line.split("\t")
        counts[cells[1], cells[3]] += 1
    rows = []
    for klass in ("MUST", "EXPECTED", "EXTRA", "EXAMPLE", "DECISION"):
        total = sum(n for (k, _), n in counts.items() if k == klass)
        rows.append(f"{klass} {counts[klass, 'covered']}/{total}")
    return "covered: " + ", ".join(rows)


def self_test(text):
    lines = text.rstrip("\n").split("\n")
    covered = next(i for i, line in enumerate(lines) if "\tcovered\t" in line)
    row = lines[covered].split("\t")

    def changed(column, value):
        other = list(row)
        other[COLUMNS.index(column)] = value
        return "\n".join(lines[:covered] + ["\t".join(other)] + lines[covered + 1:])

    cases = {
        "is missing": "\n".join(lines[:-1]),
        "stands there 2 times": "\n".join(lines + [lines[-1]]),
        "unknown id": changed("id", "ABC-01"),
        "unknown class": changed("class", "SHOULD"),
        "unknown status": changed("status", "done"),
        "no test is named": changed("tests", ""),
        "without a reason": changed("status", "open").replace("\topen\t" + row[4] + "\t" + row[5], "\topen\t\t"),
        "there is no test": changed("tests", "No.Such"),
    }
    wrong = [what for what, sample in cases.items() if not any(what in p for p in problems(sample, set()))]
    for what in wrong:
        print(f"self-test: {what!r} is not noticed")
    return 1 if wrong else 0


def main(arguments):
    with open(arguments[0], encoding="utf-8") as file:
        text = file.read()
    if "--self-test" in arguments:
        return self_test(text)
    tests = known_tests(arguments[arguments.index("--tests") + 1]) if "--tests" in arguments else None
    found = list(problems(text, tests))
    for problem in found:
        print(problem)
    print(summary(text))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
