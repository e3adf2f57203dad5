"""Says which of our functions have the name of a function in a library that we link: the linker takes ours for both,
without a word, and the library's callers crash.

    python3 tests/lint/symbols.py BINARY
"""
import re
import subprocess
import sys


def symbols(*nm):
    """Names of the global functions and data that are defined in a file."""
    lines = subprocess.run(["nm", *nm], capture_output=True, text=True, check=True).stdout.splitlines()
    found = set()
    for line in lines:
        parts = line.split()
        if len(parts) == 3 and parts[1] in "TDBRVWi":
            found.add(parts[2])
    return found


def main():
    binary = sys.argv[1]
    ldd = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    libraries = [path for path in re.findall(r"=> (/\S+)", ldd) if not re.search(r"lib(asan|tsan|ubsan)", path)]
    # Without what the compiler puts into every program, and copies of a library's data (name@VERSION).
    ours = {name for name in symbols("-g", "--defined-only", binary) if not name.startswith("_") and "@" not in name}
    clashes = []
    for library in libraries:
        theirs = {name.split("@")[0] for name in symbols("-D", "--defined-only", library)}
        clashes += [f"{name} is ours, and is in {library} too: give ours another name" for name in sorted(ours & theirs)]
    print("\n".join(clashes) or f"symbols: {len(ours)} names of ours in none of {len(libraries)} libraries")
    return 1 if clashes or not libraries or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
