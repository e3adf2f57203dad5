"""No function of ours has the name of one in a library that we link.

An executable's definition wins over a shared library's: the library would call ours by mistake.
Usage: symbols.py BINARY
"""
import re
import subprocess
import sys


def defined(path, kinds, *options):
    out = subprocess.run(["nm", "--defined-only", *options, path], check=True, capture_output=True, text=True).stdout
    return {re.sub("@.*", "", fields[2]) for fields in map(str.split, out.splitlines())
            if len(fields) == 3 and fields[1] in kinds}


def libraries(path):
    out = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
    return re.findall(r"=> (/\S+)", out)


# What every program and library has of its own, from the compiler and the linker.
RUNTIME = re.compile(r"^(_|main$|data_start$|__)")


def main():
    ours = {s for s in defined(sys.argv[1], "T") if not RUNTIME.match(s)}
    clashes = {(s, lib) for lib in libraries(sys.argv[1]) for s in ours & defined(lib, "TWi", "-D")}
    for symbol, library in sorted(clashes):
        print(f"{symbol} is also in {library}: rename ours")
    if not ours:
        print("no symbols found: is the binary stripped?")
    return 1 if clashes or not ours else 0


if __name__ == "__main__":
    sys.exit(main())
