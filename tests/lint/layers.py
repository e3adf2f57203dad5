"""Checks that the layers are what docs/architecture.md says: what each folder may include, where each library
may be named, and that functions nobody should call are not called. Prints every line that breaks a rule; exit code 1 if there is one.

    python3 tests/lint/layers.py [ROOT]
"""
import pathlib
import re
import sys

# Folder -> folders whose headers it may include (its own always).
LAYERS = {
    "schema": set(),
    "gateway/base": {"schema"},
    "gateway/telemetry": {"gateway/base", "proto", "schema"},
    "storage": {"gateway/base", "schema"},
    "gateway/ingest": {"storage", "gateway/telemetry", "gateway/base", "proto", "schema"},
    "gateway/forward": {"storage", "gateway/telemetry", "gateway/base", "proto", "schema"},
    "gateway/classify": {"storage", "gateway/telemetry", "gateway/base", "proto", "schema"},
    "admin": {"storage", "gateway/telemetry", "gateway/base", "proto", "schema"},
}
EVERYTHING = {"gateway"}  # gateway/main.c and what stands beside it: the composition root

# A library's symbols or headers -> files (regular expressions) that may name them.
LIBRARIES = {
    "SQLite": (r"\bsqlite3_\w+\s*\(|<sqlite3", r"storage/"),
    "nghttp2": (r"\bnghttp2_\w+\s*\(|<nghttp2/", r"gateway/(ingest|forward)/.*(grpc|http2).*"),
    "GnuTLS": (r"\bgnutls_\w+\s*\(|<gnutls/", r"gateway/.*tls.*"),
    "libmicrohttpd": (r"\bMHD_\w+\s*\(|<microhttpd", r"gateway/ingest/.*http.*|admin/.*"),
    "curl": (r"\bcurl_\w+\s*\(|<curl/", r"gateway/forward/.*|admin/.*"),
    "protobuf-c": (r"\bprotobuf_c_\w+\s*\(|<protobuf-c", r"gateway/telemetry/.*|gateway/ingest/.*|gateway/forward/.*|admin/.*"),
    "zlib and zstd": (r"\b(deflate|inflate|ZSTD_)\w*\s*\(|<zstd", r"gateway/base/compression\.c"),
    "libyaml": (r"\byaml_(parser|event)_\w+\s*\(|<yaml\.h", r"gateway/base/config_yaml\.c"),
}

# Unbounded, not for threads, or with a buffer that all share.
BANNED = re.compile(r"(?<![\w>.])(strcpy|strcat|sprintf|vsprintf|gets|strtok|localtime|gmtime|ctime|asctime|rand|system|popen|"
                    r"tmpnam|alloca|atoi|atol|setjmp|longjmp|usleep)\s*\(")

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def folder_of(path):
    """The layer of a file's path: the longest layer that it is in, or the folder itself."""
    parent = str(pathlib.PurePosixPath(path).parent)
    fitting = [layer for layer in list(LAYERS) + ["proto"] if parent == layer or parent.startswith(layer + "/")]
    return max(fitting, key=len) if fitting else parent


def code_lines(text):
    """The lines without comments, so that a comment may name what the code may not."""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return text.split("\n")


def check_file(root, path):
    layer = folder_of(path)
    allowed = LAYERS.get(layer)
    if allowed is None and layer not in EVERYTHING:
        return [f"{path}: the folder {layer} is in no layer: add it to tests/lint/layers.py"]
    problems = []
    for number, line in enumerate(code_lines((root / path).read_text()), 1):
        include = INCLUDE.match(line)
        if include and allowed is not None:
            target = folder_of(include.group(1))
            if target != layer and target not in allowed:
                problems.append(f"{path}:{number}: {layer} may not include {include.group(1)}")
        banned = BANNED.search(line)
        if banned:
            problems.append(f"{path}:{number}: {banned.group(1)} is not used here: {line.strip()}")
        for library, (pattern, files) in LIBRARIES.items():
            if re.search(pattern, line) and not re.match(files, path):
                problems.append(f"{path}:{number}: {library} has no place here: {line.strip()}")
    return problems


def sources(root):
    for top in ("schema", "gateway", "storage", "admin"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".def"):
                yield str(path.relative_to(root))


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    files = list(sources(root))
    problems = [p for path in files for p in check_file(root, path)]
    print("\n".join(problems) or f"layers: {len(files)} files keep the rules")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
