"""Every command line that README and the pages show is one that the program takes: none is answered with exit code 2.
And every invariant of docs/durability.md names tests that exist."""
import re
import shlex
import subprocess

from tests.support.gateway import ROOT, binary

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def words_of(line):
    """Up to a comment, a pipe or a redirection."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>;")
    lexer.whitespace_split = True
    out = []
    for word in lexer:
        if word in ("|", ">", ";"):
            break
        out.append(word)
    return out


def documented():
    """(page, words) of what stands in blocks of shell, and in a code span of its own."""
    for page in PAGES:
        text = page.read_text()
        blocks = "\n".join(re.findall(r"```(?:sh)?\n(.*?)```", text, re.S))
        # The synopsis of all commands explains itself behind blanks, and has options in brackets: it is no command line.
        lines = [line for line in re.findall(r"^tidegate ([^\n]+)", blocks, re.M) if "   " not in line.split("#")[0].rstrip()
                 and not re.search(r"[\[\]]|\.\.\.$|NAME$", line.split("#")[0].rstrip())]
        for line in lines + re.findall(r"`tidegate ([^`|\\]+)`", text):
            yield page.name, words_of(line)


def test_no_documented_command_is_a_mistake(tmp_path):
    values = {"FILE": "none.yaml", "NAME": "central", "ID": "1", "RATE": "1MiB/s", "TIME": "1h", "SECONDS": "5"}
    seen = set()
    for page, words in documented():
        words = [values.get(w, w) for w in words]
        if not words or words[0] in ("run", "COMMAND") or words[-1].startswith("--") and len(words) == 1:
            continue
        changes = {"purge", "replay", "move", "export"} & set(words)
        if changes and not {"--destination", "--from"} & set(words):
            continue  # named in passing, without what it needs
        if words[-1] in ("show", "pause", "resume", "flush", "check-destination", "reset"):
            continue  # the same
        # No gateway and no queue: what is right is answered with "nobody listens", or "no such file".
        words = ["central.yaml" if w.endswith(".yaml") else w for w in words]
        done = subprocess.run([binary(), *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 2, f"{page}: tidegate {shlex.join(words)}: {done.stderr}"
        seen.add(" ".join(w for w in words[:2] if not w.startswith("-")))
    assert {"status", "queue", "show 17", "uplink central", "dead-letters", "dead-letters replay", "dead-letters purge",
            "dead-letters export", "queue purge", "queue move", "check-destination central", "check-config"} <= seen, seen


def test_every_invariant_stands_in_the_table_and_names_tests_that_exist():
    tests = {path.stem for path in (ROOT / "tests").glob("*/*.[cp]*")}
    lines = (ROOT / "docs" / "durability.md").read_text().partition("## Invariants\n")[2].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|")) + 2
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:lines.index("", start)]]
    # An empty line would end the table.
    assert [row[0] for row in rows] == [str(i + 1) for i in range(len(rows))] and len(rows) >= 26
    for number, *_, proof in rows:
        named = re.findall(r"`?\b((?:test|it|fault|crash)_\w+)", proof)
        assert named and set(named) <= tests, f"invariant {number}: {proof}"
