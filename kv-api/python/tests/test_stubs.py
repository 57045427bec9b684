"""The stubs tell what there is: the same names, parameters and values. Types are for type checkers to check."""

import ast
import enum
import importlib
import inspect
import pathlib

PACKAGES = ["hixl", "kvtrans_engine", "llm_datadist", "pmd_kv"]

_OWN = "for the package's own modules"

WITHOUT_STUB = {
    "hixl": "hands on what hixl.hixl has, whose stub type checkers follow",
    "llm_datadist.utils": _OWN,
    "llm_datadist.utils.log": _OWN,
    "llm_datadist.utils.utils": _OWN,
    "llm_datadist.v2": "holds nothing but modules",
    "llm_datadist.v2.comm": _OWN,
    "llm_datadist.v2.llm_utils": _OWN,
}

# How what differs ends, and why it may.
_ANNOTATION = ("in the stub only", "names a type for annotations; there is no such object")
_FORMS = ("(*args, **kwargs) at run time", "sorts out which form of a call it is; the stub tells the forms")

EXCEPTIONS = {
    "kvtrans_engine.Endpoint()": _FORMS,
    "kvtrans_engine.Endpoint.connect": _FORMS,
    "kvtrans_engine.Endpoint.recv_kv": _FORMS,
    "kvtrans_engine.Endpoint.reg_kv": _FORMS,
    "kvtrans_engine.Endpoint.send_kv": _FORMS,
    "llm_datadist.v2.llm_types.BlocksCacheKey()": _FORMS,
    "llm_datadist.v2.llm_types.CacheKey()": _FORMS,
    "pmd_kv.Accelerators": _ANNOTATION,
    "pmd_kv.Array": _ANNOTATION,
    "pmd_kv.BlockRanges": _ANNOTATION,
    "pmd_kv.Counters": _ANNOTATION,
    "pmd_kv.Descriptors": _ANNOTATION,
    "pmd_kv.LinkFigures": _ANNOTATION,
    "pmd_kv.Metrics": _ANNOTATION,
    "pmd_kv.Numbers": _ANNOTATION,
    "pmd_kv.Options": _ANNOTATION,
    "pmd_kv.PeerMetrics": _ANNOTATION,
}


def files(suffix):
    """Each package's files of a suffix, by module."""
    found = {}
    for package in PACKAGES:
        root = pathlib.Path(importlib.import_module(package).__file__).parent
        for path in root.rglob(f"*{suffix}"):
            parts = path.relative_to(root.parent).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def defined(body):
    """What statements define, by name: the nodes. Imports count where they are said to be for others too."""
    found = {}
    for node in body:
        names = []
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.asname == alias.name]
        for name in names:
            found.setdefault(name, []).append(node)
    return found


def members(module, node):
    """What a class of a stub defines, and its bases there."""
    found = {}
    for base in node.bases:
        for inherited in module.get(getattr(base, "id", None), []):
            if isinstance(inherited, ast.ClassDef):
                found.update(members(module, inherited))
    return found | defined(node.body)


def attributes(node):
    """What a class' methods set on `self`."""
    stored = (part for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store))
    return {part.attr for part in stored if getattr(part.value, "id", None) == "self"}


def public(names):
    return {name for name in names if not name.startswith("_")}


def is_method(node):
    """Whether a node is a function and no property."""
    return isinstance(node, ast.FunctionDef) and not any(
        getattr(decorator, "id", getattr(decorator, "attr", None)) in ("property", "setter")
        for decorator in node.decorator_list
    )


def from_stub(node, bound):
    """The parameters of a function of a stub."""
    for part in ast.walk(node.args):
        if isinstance(part, ast.arg):
            part.annotation = None
    parameters = list(inspect.signature(eval(f"lambda {ast.unparse(node.args)}: 0")).parameters.values())
    return parameters[1:] if bound else parameters


def shown(parameters):
    """Parameters as text: names, kinds, and which have defaults. No caller names those that take the rest."""
    rest = {inspect.Parameter.VAR_POSITIONAL: "args", inspect.Parameter.VAR_KEYWORD: "kwargs"}
    return str(
        inspect.Signature(
            inspect.Parameter(
                rest.get(one.kind, one.name), one.kind, default=one.empty if one.default is one.empty else ...
            )
            for one in parameters
        )
    )


class Comparison:
    """What differs, by name; how many signatures and values were compared; signatures that Python does not know."""

    def __init__(self):
        self.different, self.signatures, self.values, self.unknown = {}, 0, 0, []

    def module(self, name, stub, source):
        runtime = importlib.import_module(name)
        own = defined(ast.parse(source.read_text()).body) if source else {}
        told = defined(ast.parse(stub.read_text()).body)
        exported = getattr(runtime, "__all__", None)
        self.names(name, runtime, told, public(own) if exported is None else set(exported))
        for node in told.get("__all__", []):
            if set(ast.literal_eval(node.value)) != set(exported or ()):
                self.different[f"{name}.__all__"] = f"{exported} at run time"
        for member, nodes in told.items():
            where, found = f"{name}.{member}", getattr(runtime, member, None)
            if member.startswith("_") or found is None:
                continue
            if isinstance(nodes[0], ast.ClassDef):
                self.type(where, found, members(told, nodes[0]), own.get(member, [None])[0])
            elif isinstance(nodes[0], ast.FunctionDef):
                self.signature(where, found, nodes, bound=False)
            else:
                self.value(where, found, nodes[0])

    def names(self, where, owner, told, expected):
        for name in expected - set(told):
            self.different[f"{where}.{name}"] = "not in the stub"
        for name in public(told) - expected:
            if not hasattr(owner, name):
                self.different[f"{where}.{name}"] = "in the stub only"

    def type(self, where, runtime, told, source):
        stored = attributes(source) if source else set()
        self.names(where, runtime, told, public(vars(runtime)) | public(stored))
        constructor = told.get("__init__") or told.get("__new__")
        plain = source and not issubclass(runtime, (enum.Enum, Exception))
        if constructor or plain or runtime.__text_signature__:
            self.signature(f"{where}()", runtime, constructor or [ast.parse("def __init__(self): ...").body[0]])
        for name in public(told):
            nodes, found = told[name], getattr(runtime, name, None)
            if callable(found) != is_method(nodes[0]):
                self.different[f"{where}.{name}"] = "a method on one side only"
            elif is_method(nodes[0]):
                kind = type(inspect.getattr_static(runtime, name))
                self.signature(f"{where}.{name}", found, nodes, kind is not staticmethod, kind is classmethod)
            else:
                self.value(f"{where}.{name}", found, nodes[0])

    def signature(self, where, runtime, nodes, bound=True, without=False):
        """`bound`: the stub has a first parameter that no caller gives; `without`: what Python tells has none."""
        try:
            parameters = list(inspect.signature(runtime).parameters.values())
        except ValueError:
            self.unknown.append(where)
            return
        self.signatures += 1
        if bound and not without and not isinstance(runtime, type):
            parameters = parameters[1:]
        told = [shown(from_stub(node, bound)) for node in nodes]
        if told != [shown(parameters)]:
            self.different[where] = f"{' or '.join(told)} in the stub, {shown(parameters)} at run time"

    def value(self, where, runtime, node):
        value = getattr(node, "value", None)
        if isinstance(value, (ast.Constant, ast.UnaryOp)):
            self.values += 1
            known = runtime.value if isinstance(runtime, enum.Enum) else runtime
            if known != ast.literal_eval(value):
                self.different[where] = f"{known!r} at run time"


def test_every_module_has_a_stub():
    assert set(files(".py")) - set(files(".pyi")) == set(WITHOUT_STUB)


def test_the_stubs_tell_what_there_is():
    sources, comparison = files(".py"), Comparison()
    for name, stub in files(".pyi").items():
        comparison.module(name, stub, sources.get(name))
    different = comparison.different
    excepted = {name for name, (ends, _) in EXCEPTIONS.items() if different.get(name, "").endswith(ends)}
    assert not {name: text for name, text in different.items() if name not in excepted}
    assert excepted == set(EXCEPTIONS)
    # Fewer, and it looked past what it should compare. Of extension types all tell their signatures so far.
    assert comparison.signatures > 150 and comparison.values > 60
    assert len(comparison.unknown) == 0
