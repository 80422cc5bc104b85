"""The version of code: what changes it, and what does not."""

from __future__ import annotations

import pytest

from store import code as module

PROGRAM = '"""Doc."""\n\nfrom store.other import half\n\n\ndef double(x):\n    """Twice."""\n    return 2 * x  # fast\n'


EVERY_SYNTAX = """
from __future__ import annotations
import os as system, sys
from . import near
from .near import *

@near.decorated(1, *[2], key=None, **{})
class Kind(near.Base, metaclass=type):
    field: int = 0
    other: str

    def method(self, a, /, b: int = 1, *rest, c=None, d, **named) -> dict[str, int]:
        global here
        def inner():
            nonlocal a
            a = yield
            yield from (x async for x in b)
            return
        return None

    async def later(self):
        async with self as (a, b), near:
            await a
        async for _ in b:
            break
        else:
            pass

def rest(x):
    try:
        assert x, f"{x!r:>{2 + 1}} {{}} {x=} {'é☃':s}" "𝔘 \\t"
    except (ValueError, TypeError) as error:
        raise near.Error(x) from error
    except near.Error:
        raise
    else:
        del x[0], x.y
    finally:
        x += 1.5e300 - 2j ** -3 // 4 % 5 @ 6 << 7 >> 8 & 9 | ~10 ^ 11
    while not (x := True) or False and ...:
        continue
    match x:
        case {"a": 1, **others} | [1, *_] if x is not None:
            pass
        case near.Kind(0, y=None) as z:
            pass
        case "a" | True | _:
            pass
    for i, (j, *k) in x:
        x[1:2:3, ...] = x[:] = {**x, "a": {1, *x}} if i <= j < 3 != 4 in k not in [] else lambda y, *z, w=1: (y, z)
    try:
        print([a for b in x if b if a for c in b], {a: b for a in x}, {a for a in x})
    except* OSError:
        pass
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A room `store` with a program, and functions that write files into it and read its version anew."""
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "store" / "data").mkdir(parents=True)

    def write(**files):
        for name, text in files.items():
            (tmp_path / "store" / name.replace("__", ".").replace("_slash_", "/")).write_text(text)

    def version(program=PROGRAM, *entries):
        for cached in (module._version, module._named_in, module._content_digest, module._files_of):
            cached.cache_clear()
        write(program__py=program)
        return module.code_version("store.program", *entries)

    write(other__py="def half(x):\n    return x / 2\n", further__py="VALUE = 1\n")
    yield write, version
    for cached in (module._version, module._named_in, module._content_digest, module._files_of):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("old", "new"),
    [("# fast", "# quick"), ("Twice.", "The double."), ("Doc.", "Words."), ("\n\n\n", "\n\n\n\n\n")],
)
def test_words_about_the_code_do_not_count(checkout, old, new):
    _, version = checkout
    assert version() == version(PROGRAM.replace(old, new))


def test_the_version_is_the_same_under_every_python(checkout):
    _, version = checkout
    assert version(EVERY_SYNTAX) == "1385031fba577afb"


@pytest.mark.parametrize(("old", "new"), [("return x", "return"), ("=None", "=0"), ("return None", "return")])
def test_what_is_empty_counts(checkout, old, new):
    _, version = checkout
    program = f"{PROGRAM}\n\ndef more(x, y=None):\n    if x:\n        return None\n    return x\n"
    assert version(program) != version(program.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [("2 *", "3 *"), ("double", "twice"), ("return", "yield")])
def test_code_counts(checkout, old, new):
    _, version = checkout
    assert version() != version(PROGRAM.replace(old, new))


def test_what_is_imported_counts_also_inside_functions_and_through_others(checkout):
    write, version = checkout
    lazily = PROGRAM.replace("    return", "    from store import further\n\n    return")
    for program, file in ((PROGRAM, "other"), (lazily, "further")):
        before = version(program)
        write(**{f"{file}__py": "def half(x):\n    return x / 3\n"})
        assert version(program) != before
    write(other__py="from store.further import VALUE\n")
    before = version()
    write(further__py="VALUE = 2\n")
    assert version() != before


def test_what_is_not_imported_does_not_count(checkout):
    write, version = checkout
    before = version()
    write(further__py="VALUE = 2\n")
    assert version() == before
    write(brand_new__py="VALUE = 2\n")
    assert version() == before


def test_imports_for_type_checkers_do_not_count(checkout):
    write, version = checkout
    typed = f"from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from store.further import VALUE\n{PROGRAM}"
    before = version(typed)
    write(further__py="VALUE = 3\n")
    assert version(typed) == before


def test_a_module_named_in_a_string_counts(checkout):
    write, version = checkout
    program = f'{PROGRAM}\n\nCOMMAND = ["-m", "store.further"]\n'
    before = version(program)
    write(further__py="VALUE = 4\n")
    assert version(program) != before


def test_a_data_file_counts_where_it_is_named(checkout):
    write, version = checkout
    write(data_slash_words__csv="a,b")
    program = f'{PROGRAM}\n\nNAME = "words.csv"\n'
    of_other, before = version(), version(program)
    write(data_slash_words__csv="a,c")
    assert version(program) != before
    assert version() == of_other


def test_further_entries_count(checkout):
    write, version = checkout
    before = version(PROGRAM, "store.further")
    write(further__py="VALUE = 5\n")
    assert version(PROGRAM, "store.further") != before


def test_a_module_that_does_not_exist_is_named(checkout):
    _, version = checkout
    with pytest.raises(ModuleNotFoundError, match=r"store\.nothing"):
        version(PROGRAM, "store.nothing")


def test_a_relative_import_counts(checkout):
    write, version = checkout
    program = "from . import further\nfrom .other import half\n"
    for file in ("further", "other"):
        before = version(program)
        write(**{f"{file}__py": "VALUE = 6\n"})
        assert version(program) != before


def test_what_a_module_says_is_kept_until_the_file_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HOME", tmp_path)
    path, file = tmp_path / "program.py", tmp_path / "kept" / "code.json"
    path.write_text(PROGRAM)
    first = module._Memory(file)
    facts = first.facts(path)
    assert facts["modules"] == ["store.other", "store.other.half"]
    first.save()
    read = []
    monkeypatch.setattr(
        module, "_read_facts", lambda path: read.append(path) or {"digest": "", "modules": [], "files": []}
    )
    assert module._Memory(file).facts(path) == facts
    assert read == []
    path.write_text(PROGRAM)  # the same text, in a file that was touched
    assert module._Memory(file).facts(path) != facts
    assert read == [path]
    path.write_text(PROGRAM)
    file.write_text("{")  # damaged: everything is read again
    assert module._Memory(file).facts(path)["digest"] == ""


def test_what_another_reader_kept_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HOME", tmp_path)
    path, file = tmp_path / "program.py", tmp_path / "code.json"
    path.write_text(PROGRAM)
    memory = module._Memory(file)
    memory.facts(path)
    memory._reader = "another"
    memory.save()
    assert module._Memory(file)._known == {}
