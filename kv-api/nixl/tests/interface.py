"""Our declaration of NIXL's interface against the wheel: the same virtual functions, with the same arguments, in the same
order as in a plugin that the wheel brings. Run by run.py."""

import os
import re
import subprocess
import unittest
from pathlib import Path

import lines

OURS = Path(os.environ["NIXL_PLUGIN_DIR"]) / "libplugin_PMD.so"
THEIRS = Path(os.environ["NIXL_WHEEL"]) / ".nixl_cu12.mesonpy.libs/plugins/libplugin_POSIX.so"

# Without exported symbols the table of ours shows only in an object file.
OBJECT = Path(os.environ["NIXL_SHIM_OBJECT"])

# Two words of header, two destructors, twenty-five functions.
SLOTS = 29


def readelf(*arguments):
    return subprocess.run(["readelf", "--wide", *arguments], capture_output=True, text=True, check=True).stdout


def symbols(path):
    """(value, size, section, name) of each symbol of a file."""
    row = re.compile(r"^\s*\d+: ([0-9a-f]+)\s+(\d+)\s+\w+\s+\w+\s+\w+\s+(\w+) (\S+)")
    found = (row.match(line) for line in readelf("--symbols", path).splitlines())
    return [(int(match[1], 16), int(match[2]), match[3], match[4]) for match in found if match]


def sections(path):
    row = re.compile(r"^\s*\[\s*(\d+)\]\s+(\S+)")
    return {match[1]: match[2] for match in map(row.match, readelf("--sections", path).splitlines()) if match}


def table(path, engine, relocatable):
    """What the engine's virtual table refers to, from its first slot to its last."""
    start, size, section, _ = next(symbol for symbol in symbols(path) if symbol[3] == f"_ZTV{engine}")
    wanted = f".rela{sections(path)[section]}" if relocatable else None
    current, slots = None, {}
    for line in readelf("--relocs", path).splitlines():
        if heading := re.match(r"Relocation section '(\S+)'", line):
            current = heading[1]
        match = re.match(r"^([0-9a-f]+)\s+\S+\s+R_X86_64_64\s+[0-9a-f]+\s+(\S+)", line)
        if match and (wanted is None or current == wanted) and start <= int(match[1], 16) < start + size:
            slots[(int(match[1], 16) - start) // 8] = match[2].split("@")[0]
    return size // 8, slots


def functions(slots, engine):
    """The functions of a table without the name of their class, which may be the engine's or the base's."""
    names = "\n".join(slots[index] for index in range(2, SLOTS))
    demangled = subprocess.run(["c++filt"], input=names, capture_output=True, text=True, check=True).stdout
    own, name = f"{engine}::", engine.split("::")[-1]
    bare = (line.removeprefix(own).removeprefix("nixlBackendEngine::") for line in demangled.splitlines())
    return [line.replace(f"~{name}", "~") for line in bare]


class Interface(unittest.TestCase):
    def test_every_virtual_function_is_in_its_place(self):
        theirs_slots, theirs = table(THEIRS, "15nixlPosixEngine", False)
        ours_slots, ours = table(OBJECT, "N3pmd6EngineE", True)
        self.assertEqual((ours_slots, theirs_slots), (SLOTS, SLOTS))
        wanted = functions(theirs, "nixlPosixEngine")
        self.assertEqual(len(wanted), SLOTS - 2)
        self.assertEqual(functions(ours, "pmd::Engine"), wanted)

    def test_nothing_is_exported_but_what_nixl_asks_for(self):
        exported = subprocess.run(
            ["nm", "--dynamic", "--defined-only", OURS], capture_output=True, text=True, check=True
        ).stdout
        self.assertEqual(sorted(line.split()[-1] for line in exported.splitlines()), ["nixl_plugin_fini", "nixl_plugin_init"])

    def test_nothing_is_asked_of_nixl_at_link_time(self):
        wanted = subprocess.run(["nm", "--dynamic", "--undefined-only", OURS], capture_output=True, text=True, check=True)
        self.assertEqual([line for line in wanted.stdout.splitlines() if "nixl" in line], [])


if __name__ == "__main__":
    unittest.main(testRunner=lines.RUNNER)
