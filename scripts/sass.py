"""Reads what nvdisasm and ptxas say of a file (scripts/sass.sh) and prints a kernel's hot loop by kinds of instructions.

usage: sass.py SASS PTXAS [PART_OF_A_KERNEL'S_NAME]

A loop is what lies between a label and the last branch back to it. The hot loop is the one with the most HMMAs. Loops
within it are counted once, and said. The slots are those of one warp: all instructions of the loop, also those that
a predicate or a branch may skip. Of attention a unit of work is 16 queries x 32 keys, of others an HMMA.
"""
import collections
import re
import sys

PREFIXES = re.compile(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|\(int\)|\(bool\)|dram_attention::|dram_")


def short(name):
    """A kernel's name with its template arguments alone."""
    name = PREFIXES.sub("", name)
    name = re.sub(r"^(void|static) ", "", name)
    depth = 0
    for at, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:at]
    return name


def kernels_of(path):
    """Name -> [(label or opcode, branch's target)] in the order of the code."""
    kernels, code = {}, None
    for line in open(path):
        section = re.match(r"\s*\.section\s+\.text\. (.*),\"ax\"", line)
        if section:
            code = kernels.setdefault(short(section.group(1)), [])
            continue
        label = re.match(r"(\.L_x_\d+):", line)
        if label and code is not None:
            code.append((label.group(1), None))
        found = re.match(r"\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)(.*)", line)
        if found and code is not None:
            target = re.search(r"`\((\.L_x_\d+)\)", found.group(2)) if found.group(1) == "BRA" else None
            code.append((found.group(1), target and target.group(1)))
    return kernels


def loops_of(code):
    """[(first, last)], a label and the last branch back to it."""
    labels, loops = {}, {}
    for at, (what, target) in enumerate(code):
        if what.startswith("."):
            labels[what] = at
        elif target in labels:
            loops[labels[target]] = at
    return sorted(loops.items())


def count(code, loop):
    return collections.Counter(what for what, _ in code[loop[0] : loop[1] + 1] if not what.startswith("."))


def hot_loop(code):
    """The loop with most HMMAs: of nested ones the outermost that has twice those of what it holds, else the inner."""
    with_mma = [(count(code, loop)["HMMA"], loop) for loop in loops_of(code)]
    with_mma = [(n, loop) for n, loop in with_mma if n]
    innermost = [
        (n, loop)
        for n, loop in with_mma
        if not any(other != loop and loop[0] <= other[0] and other[1] <= loop[1] and 2 * m > n for m, other in with_mma)
    ]
    return max(innermost, key=lambda x: (x[0], x[1][0] - x[1][1]))[1] if innermost else None


def resources_of(path):
    """Name -> ptxas's words on registers and spills."""
    said, name = {}, None
    for line in open(path):
        found = re.search(r"Compiling entry function '(.*)' for", line)
        name = short(found.group(1)) if found else name
        if name and "spill stores" in line:
            said[name] = [line.split("stack frame, ")[1].strip()]
        found = re.search(r"Used (\d+) registers", line)
        if name and found:
            said[name].insert(0, found.group(1) + " registers")
    return said


def unit_of(name):
    """HMMAs of a unit of work, and what it is."""
    found = re.match(r"attention_kernel<(\w+), (\d+)(?:, (\d+), \w+)?>", name)
    if not found or found.group(1) == "float":
        return 1, "an HMMA"
    return int(found.group(2)) // 4 * (1 + int(found.group(3) or 2)), "16 queries x 32 keys"


def main():
    kernels, said = kernels_of(sys.argv[1]), resources_of(sys.argv[2])
    part, shown = sys.argv[3] if len(sys.argv) > 3 else "", 0
    for name, code in kernels.items():
        loop = hot_loop(code)
        if part not in name or not loop:
            continue
        shown += 1
        kinds = count(code, loop)
        total, unit, what = sum(kinds.values()), *unit_of(name)
        inner = [x for x in loops_of(code) if x != loop and loop[0] <= x[0] and x[1] <= loop[1]]
        print(f"{name}: {', '.join(said.get(name, ['ptxas said nothing']))}")
        print(f"  loop: {total} slots, {kinds['HMMA']} HMMA: {total * unit / kinds['HMMA']:.1f} slots for {what}", end="")
        print(f", {total / kinds['HMMA']:.2f} an HMMA")
        for x in inner:
            print(f"  holds a loop of {sum(count(code, x).values())} slots, {count(code, x)['HMMA']} HMMA, counted once")
        print("  " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    if not shown:
        sys.exit(f"sass.py: no kernel with {part!r} in its name has an HMMA in a loop")


main()
