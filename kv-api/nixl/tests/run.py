"""Builds the plugin, installs the wheels of NIXL into a virtual environment, and runs every test of this folder.

    run.py FOLDER [PROFILE]

FOLDER keeps the environment between runs; PROFILE is cargo's, dev if it is not given. With PMD_BUILT, a folder of libraries
that cargo has built already, nothing is built again.
"""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent

# The release that interface/ declares, and one that has to be refused.
RELEASE = "1.5.1"
OTHER_RELEASE = "1.4.0"

# No test takes so long.
LIMIT = 300


def say(*words):
    print("+", *words, file=sys.stderr, flush=True)


def run(*command, **options):
    say(*command)
    subprocess.run([str(word) for word in command], check=True, timeout=LIMIT, **options)


def install(folder):
    """The wheels, each in a folder of its own, and a Python that has neither of them."""
    python = folder / "venv/bin/python"
    if not python.exists():
        venv.create(folder / "venv", with_pip=True)
    wheels = {"numpy": "numpy<3", RELEASE: f"nixl-cu12=={RELEASE}", OTHER_RELEASE: f"nixl-cu12=={OTHER_RELEASE}"}
    for name, wanted in wheels.items():
        place, whole = folder / name, folder / f"{name}.installed"
        if whole.exists() and whole.read_text() == wanted:
            continue
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", place, wanted)
        whole.write_text(wanted)
    return python


def build(folder, profile):
    """The plugin as CMake builds and installs it, which runs build.sh; without CMake, by build.sh alone."""
    plugins = folder / "plugins"
    if shutil.which("cmake"):
        run("cmake", "-S", HERE.parent, "-B", folder / "cmake", f"-DPROFILE={profile}")
        run("cmake", "--build", folder / "cmake")
        run("cmake", "--install", folder / "cmake", "--prefix", plugins)
    else:
        run(HERE.parent / "build.sh", plugins, profile)
    shim = folder / "engine.o"
    interface = f'-DPMD_NIXL_INTERFACE="interface/nixl_{RELEASE.replace(".", "_")}.h"'
    options = ["-std=c++20", "-fPIC", "-c", interface, '-DPMD_VERSION="0"', "-I", HERE.parent]
    run(os.environ.get("CXX", "g++"), *options, "-o", shim, HERE.parent / "shim/engine.cpp")
    return plugins, shim


def stand_in(folder, profile):
    """The stand-in for the CUDA driver, in a folder of its own under the driver's name."""
    root, place = HERE.parents[2], folder / "stand-in"
    built = os.environ.get("PMD_BUILT")
    if built is None:
        run("cargo", "build", "--lib", "--package", "fake-cuda", "--profile", profile, cwd=root)
        target = root / os.environ.get("CARGO_TARGET_DIR", "target")
        built = target / ("debug" if profile == "dev" else profile)
    place.mkdir(exist_ok=True)
    shutil.copy(Path(built) / "libfake_cuda.so", place / "libcuda.so.1")
    return place


def environment(folder, plugins, shim):
    path = [HERE, folder / RELEASE, folder / "numpy"]
    variables = {
        "PYTHONPATH": os.pathsep.join(str(part) for part in path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NIXL_PLUGIN_DIR": str(plugins),
        "NIXL_LOG_LEVEL": "FATAL",
        "NIXL_WHEEL": str(folder / RELEASE),
        "NIXL_SHIM_OBJECT": str(shim),
        "OTHER_NIXL": str(folder / OTHER_RELEASE),
        "OTHER_RELEASE": OTHER_RELEASE,
    }
    return {**os.environ, **variables}


def main():
    folder = Path(sys.argv[1]).resolve()
    profile = sys.argv[2] if len(sys.argv) > 2 else "dev"
    folder.mkdir(parents=True, exist_ok=True)
    python = install(folder)
    plugins, shim = build(folder, profile)
    devices = {"LD_LIBRARY_PATH": str(stand_in(folder, profile))}
    failed = 0
    for tests, more in (("interface.py", {}), ("plugin.py", {}), ("devices.py", devices)):
        say(python, tests)
        variables = {**environment(folder, plugins, shim), **more}
        ended = subprocess.run([python, HERE / tests], env=variables, timeout=LIMIT)
        failed += ended.returncode != 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
