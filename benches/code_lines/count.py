"""Counts the lines of compiled code that one warm call touches.

    python3 benches/code_lines/count.py target/wasm/code_lines [--all]

In: the program of `main.rs`, valgrind, and nm. Out, to standard output: the number of 64-byte lines
of the program's code in which the call executes an instruction, by crate or module, and by compiled
function, the greatest first. Each function counts as if it began a line, so that the number does
not depend on where the linker puts it. Not here: the C library, and the program's own functions.
"""

import re
import subprocess
import sys
import tempfile
from bisect import bisect_right
from collections import Counter
from pathlib import Path

LINE = 64
GREATEST = 30


def main(program, show_all):
    functions = touched(profile(program), program)
    modules = Counter()
    for name, lines in functions.items():
        modules[module_of(name)] += lines
    print(f"{functions.total()} lines of {LINE} bytes\n")
    table("crate or module", modules, None)
    print()
    table("compiled function", functions, None if show_all else GREATEST)


def profile(program):
    """Returns Callgrind's record of the call."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record")
        command = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={record}"]
        command += ["--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"]
        command += ["--toggle-collect=*measured_call*"]
        subprocess.run([*command, program], check=True)
        return record.read_text()


def touched(record, program):
    """Returns the number of lines that were touched of each function. Functions of one name, such as
    those for several types, count together."""
    starts = starts_of_functions(program)
    program = str(Path(program).resolve())
    is_ours, function, lines = False, "", set()
    for entry in record.splitlines():
        kind, _, value = entry.partition("=")
        if kind == "ob":
            is_ours = value == program
        elif kind == "fn":
            # Callgrind numbers recursive calls.
            function = re.sub(r"'\d+$", "", value)
        elif entry.startswith("0x") and is_ours and "code_lines" not in function:
            address = int(entry.split()[0], 16)
            start = starts[bisect_right(starts, address) - 1]
            lines.add((function, start, (address - start) // LINE))
    return Counter(function for function, _, _ in lines)


def starts_of_functions(program):
    output = subprocess.run(["nm", "--defined-only", program], check=True, capture_output=True, text=True).stdout
    symbols = (line.split() for line in output.splitlines())
    return sorted({int(symbol[0], 16) for symbol in symbols if symbol[1] in "tTwW"})


def module_of(function):
    """Returns the module of ours, or the crate, in which a function or its type is defined."""
    path = re.sub(r"^(?:core::ptr::drop_in_place)?[<&*\[(]*(?:mut |dyn )?", "", function)
    if found := re.match(r"tollgate::\w+", path):
        return found[0]
    return re.match(r"\w*", path)[0]


def table(title, counts, most):
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    print(f"| {title} | lines |\n|---|---:|")
    for name, lines in rows[:most]:
        print(f"| `{name}` | {lines} |")


if __name__ == "__main__":
    main(sys.argv[1], "--all" in sys.argv[2:])
