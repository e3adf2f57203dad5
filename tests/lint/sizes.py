"""Says which functions and files are past the caps of docs/development.md.

    python3 tests/lint/sizes.py [--aims] [ROOT]

A file past its cap (600, tests 800, headers 120) fails, unless it says why on a line with "large file:". A function past 80 lines fails,
unless its body has /* flat */ (a switch or table without depth), which allows 120. --aims also prints what is
past the aims (40 and 400), which is no failure. Functions are found by clang-format's layout: the line "{" at
the margin opens one, "}" closes it.
"""
import pathlib
import re
import sys

FUNCTION_AIM, FUNCTION_CAP, FLAT_CAP = 40, 80, 120
FILE_AIM, FILE_CAP, HEADER_CAP, TEST_CAP = 400, 600, 120, 800
NAME = re.compile(r"(\w+)\(")


def functions(lines):
    """(name, first line from 1, number of lines, body) of each function."""
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            head = i0 = start - 1
            while i0 > 0 and lines[i0 - 1] and not lines[i0 - 1].startswith(("}", "#", " */", "/*")):
                i0 -= 1
            found = NAME.search(" ".join(lines[i0:head + 1]))
            yield (found.group(1) if found else "?", start + 1, i - start + 1, lines[start:i])
            start = None


def check(path, text, with_aims):
    """(failures, remarks) of one file."""
    lines = text.split("\n")
    count = len(lines) - 1
    cap = HEADER_CAP if path.endswith(".h") else TEST_CAP if path.startswith("tests/") else FILE_CAP
    failures, remarks = [], []
    if count > cap and "large file:" not in text:
        failures.append(f"{path}: {count} lines, the cap is {cap}")
    elif with_aims and path.endswith(".c") and count > FILE_AIM:
        remarks.append(f"{path}: {count} lines, the aim is {FILE_AIM}")
    for name, at, length, body in functions(lines):
        is_flat = any("/* flat */" in line for line in body)
        cap = FLAT_CAP if is_flat else FUNCTION_CAP
        if length > cap:
            failures.append(f"{path}:{at}: {name} has {length} lines, the cap is {cap}")
        elif with_aims and length > FUNCTION_AIM and not is_flat:
            remarks.append(f"{path}:{at}: {name} has {length} lines, the aim is {FUNCTION_AIM}")
    return failures, remarks


def main():
    args = sys.argv[1:]
    with_aims = "--aims" in args
    args = [a for a in args if a != "--aims"]
    root = pathlib.Path(args[0] if args else pathlib.Path(__file__).parents[2]).resolve()
    failures, remarks, count = [], [], 0
    for top in ("schema", "gateway", "storage", "admin", "tests"):
        for path in sorted((root / top).rglob("*.[ch]")):
            name = str(path.relative_to(root))
            found = check(name, path.read_text(), with_aims)
            failures += found[0]
            remarks += found[1]
            count += 1
    for line in remarks + failures:
        print(line)
    print(f"sizes: {count} files, {len(failures)} past a cap")
    return 1 if failures or not count else 0


if __name__ == "__main__":
    sys.exit(main())
