"""Every command: what it prints, what it writes, and its exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import codered_spec
from codered_spec import arguments, check_cache, compiler, load_spec
from codered_spec.check_cache import NAME
from codered_spec.cli import main
from codered_spec.codes import CODES
from codered_spec.commands import COMMANDS
from codered_spec.connection import Connection, connect
from codered_spec.contract.pgtap import pgtap_files
from codered_spec.emit.file import GENERATED, File
from codered_spec.model.normalize import physical
from codered_spec.postgres import EmbeddedServer
from codered_spec.sql import identifier

ROOT = Path(__file__).resolve().parent.parent
BASELINE = "20261122000000_modules_1_2.sql"
Output = pytest.CaptureFixture[str]
Change = Callable[[Path], object]

pytestmark = pytest.mark.usefixtures("project")

OFFLINE = ("sync", "generate", "fmt", "check", "sql")
ONLINE = ("migrate", "status", "verify", "introspect")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything is up to date."""
    root = tmp_path_factory.mktemp("pristine")
    (root / "docs").mkdir()
    shutil.copyfile(ROOT / "schema.yaml", root / "schema.yaml")
    shutil.copyfile(ROOT / "docs" / "schema-supabase.md", root / "docs" / "schema-supabase.md")
    assert main(["generate", "--spec", str(root / "schema.yaml")]) == 0
    return root


@pytest.fixture
def project(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> Path:
    """A copy of it, which is the current folder, and no server but the one that a test names."""
    root = tmp_path / "project"
    shutil.copytree(pristine, root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setattr(EmbeddedServer, "start", _no_server)
    capsys.readouterr()
    return root


def _no_server(_: EmbeddedServer) -> None:
    raise AssertionError("the embedded server of the project is not wanted here")


def edit(path: Path, old: str = "", new: str = "") -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def codes(text: str) -> set[str]:
    """The diagnostic codes in a message; every one is in the catalogue."""
    found = {word.strip(":") for line in text.splitlines() for word in line.split()}
    found = {w for w in found if len(w) == 4 and w[0] in "CDSMGPRV" and w[1:].isdecimal()}
    assert found <= CODES.keys()
    return found


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    command = [sys.executable, "-m", "codered_spec", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# ---- usage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dsn", ["postgresql://ada:s3cret@h/db", "host=h password=s3cret"])
def test_a_connection_string_in_a_wrong_place_is_not_repeated(dsn: str, capsys: Output) -> None:
    assert main(["--dsn", dsn, "verify"]) == 2
    assert "s3cret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["check", "--nonsense"],
        ["--nonsense", "check"],
        ["check", "extra"],
        ["--spec"],
        ["migrate", "--to"],
        ["db", "dance"],
        ["db"],
        ["sql", "--dsn", "x"],
    ],
)
def test_bad_usage_is_named_and_ends_with_2(arguments: list[str], capsys: Output) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, codes(err)) == ("", {"C001"})
    assert "usage: codered-spec" in err


def test_no_command_shows_the_help_and_ends_with_2(capsys: Output) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(command in err for command in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: Output) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: codered-spec {command}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys: Output) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"codered-spec {codered_spec.__version__}\n"


def test_the_module_runs_as_a_program() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"codered-spec {codered_spec.__version__}\n",
        "",
    )


def test_a_process_ends_with_the_exit_code_of_its_command(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout, codes(done.stderr)) == (2, "", {"C002"})
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", OFFLINE)
@pytest.mark.parametrize("before", [True, False])
def test_options_stand_before_or_after_the_command(
    command: str, before: bool, project: Path, capsys: Output
) -> None:
    (project / "schema.yaml").rename(project / "other.yaml")
    options = ["--spec", "other.yaml", "--json", "--no-color", "-v"]
    assert main([*options, command] if before else [command, *options]) == 0
    json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", [*OFFLINE, *ONLINE, "demo"])
def test_a_missing_spec_ends_with_2_or_is_begun(command: str, capsys: Output) -> None:
    options = [] if command in (*OFFLINE, "demo") else ["--dsn", "host=/nowhere"]
    expected = {"migrate": 3, "status": 3}.get(command, 2)
    assert main([command, "--spec", "none.yaml", *options]) == expected
    assert codes(capsys.readouterr().err) <= {"C001", "C002", "P001"}
    assert not Path("none.yaml").exists()


@pytest.mark.parametrize("command", OFFLINE)
def test_a_spec_in_another_folder_is_used_from_anywhere(
    command: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    assert main([command, "--spec", "project/schema.yaml"]) == 0


@pytest.mark.parametrize("command", [*OFFLINE, "demo"])
def test_a_damaged_spec_ends_with_2(command: str, capsys: Output) -> None:
    Path("schema.yaml").write_bytes(b"format: 1\nschema: [\n")
    assert main([command]) == 2
    out, err = capsys.readouterr()
    assert (out, codes(err)) == ("", {"S001"})
    assert "schema.yaml:3:1: error S001" in err


def test_a_diagnostic_comes_as_json(capsys: Output) -> None:
    Path("schema.yaml").write_text("format: 1\nschema: no\n")
    assert main(["sql", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "code": "S003",
        "severity": "error",
        "message": "YAML reads no as bool, not as text",
        "fix": 'write "no" in quotes, or give a value',
        "subject": None,
        "place": {"path": "schema.yaml", "line": 2, "column": 9},
    }


# ---- interruptions and bugs -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sql", "sql --json", "check", "--version", "--help"])
def test_a_reader_that_leaves_early_is_no_error(command: str) -> None:
    program = f"{sys.executable} -m codered_spec {command}"
    script = f"set -o pipefail; {program} | head -n 0; {program} | head -n 1 > /dev/null"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _raise(error: BaseException) -> Callable[..., Any]:
    def function(*_: object, **__: object) -> Any:
        raise error

    return function


def test_an_interrupt_is_said_and_ends_with_130(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "check_project", _raise(KeyboardInterrupt()))
    assert main(["check"]) == 130
    assert codes(capsys.readouterr().err) == {"C005"}


def test_ctrl_c_ends_a_process_without_a_traceback() -> None:
    edit(Path("schema.yaml"), "tables:\n", "tables:\n" + "".join(
        f"  t{i}:\n    columns:\n      id: {{type: uuid, primary_key: true}}\n" for i in range(9000)
    ))  # fmt: skip
    command = [sys.executable, "-m", "codered_spec", "check"]
    # a shell starts its background jobs deaf to it, and all that they start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "C005" in err


def test_a_bug_is_called_a_bug(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "check_project", _raise(ZeroDivisionError("oops")))
    assert main(["check"]) == 2
    err = capsys.readouterr().err
    assert codes(err) == {"C006"}
    assert "ZeroDivisionError: oops" in err


def test_verbose_shows_the_traceback_of_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "check_project", _raise(ZeroDivisionError("oops")))
    with pytest.raises(ZeroDivisionError):
        main(["check", "-v"])


# ---- check ------------------------------------------------------------------------------------


def check(capsys: Output, *options: str) -> tuple[int, str, str]:
    code = main(["check", *options])
    out, err = capsys.readouterr()
    return code, out, err


def test_an_up_to_date_project_is_all_well(capsys: Output) -> None:
    assert check(capsys) == (0, "schema.yaml: all well\n", "")


def test_findings_come_as_json(capsys: Output) -> None:
    Path("docs/reference/tables.md").unlink()
    code, out, err = check(capsys, "--json")
    (found,) = json.loads(out)["findings"]
    assert code == 1
    assert json.loads(err) == found
    assert found.keys() == {"code", "severity", "message", "fix", "subject", "place"}
    assert found["code"] == "G001"


def fall_behind(spec: Path) -> None:
    edit(spec, "embedding_dimensions: 384", "embedding_dimensions: 3")
    main(["generate"])


def become_folder(spec: Path) -> None:
    spec.unlink()
    spec.mkdir()


DAMAGES: dict[str, tuple[Change, int, set[str]]] = {
    "spec missing": (lambda p: (p / "schema.yaml").unlink(), 2, {"C002"}),
    "spec is a folder": (
        lambda p: become_folder(p / "schema.yaml"), 2, {"C002"},
    ),
    "spec not UTF-8": (lambda p: (p / "schema.yaml").write_bytes(b"\xff\xfe"), 2, {"C004"}),
    "spec empty": (lambda p: (p / "schema.yaml").write_text(""), 2, {"S001"}),
    "spec of wrong shape": (
        lambda p: edit(p / "schema.yaml", "tables:", "tabels:"), 2, {"S006"},
    ),
    "spec with a comment": (
        lambda p: edit(p / "schema.yaml", "tables:", "# x\ntables:"), 1, {"G004"},
    ),
    "spec not canonical": (
        lambda p: edit(p / "schema.yaml", "schema: codered", "schema:  codered"), 1, {"G004"},
    ),
    "contradiction": (
        lambda p: edit(p / "schema.yaml", "embedding_dimensions: 384", "embedding_dimensions: 384"
                       "\n    columns: {projects.status: {one_of: [x]}}"), 2, {"S013"},
    ),
    "stale decision": (
        lambda p: edit(p / "schema.yaml", "kept: [tasks.milestone_id", "kept: [tasks.milestone"),
        1, {"S012", "G001", "G004"},
    ),
    "model error": (
        lambda p: edit(p / "schema.yaml", "type: integer", "type: varchar(0)"),
        1, {"M013", "M011", "M010", "G002"},
    ),
    "document missing": (lambda p: (p / "docs/schema-supabase.md").unlink(), 2, {"C002"}),
    "document not UTF-8": (
        lambda p: (p / "docs/schema-supabase.md").write_bytes(b"\xff"), 2, {"C004"},
    ),
    "document malformed": (
        lambda p: edit(p / "docs/schema-supabase.md", "`zone` – `text`", "`zone` – `texd`"),
        2, {"D006"},
    ),
    "document changed": (
        lambda p: edit(p / "docs/schema-supabase.md", "(default `0`)", "(default `1`)"),
        1, {"G002"},
    ),
    "reference page missing": (lambda p: (p / "docs/reference/tables.md").unlink(), 1, {"G001"}),
    "reference page edited": (
        lambda p: edit(p / "docs/reference/decisions.md", "Decisions", "Choices"), 1, {"G001"},
    ),
    "reference page not UTF-8": (
        lambda p: (p / "docs/reference/tables.md").write_bytes(b"\xff"), 2, {"C004"},
    ),
    "migration edited": (
        lambda p: edit(p / "migrations" / BASELINE, "slug text", "slug  text"), 1, {"G001"},
    ),
    "migrations gone": (lambda p: shutil.rmtree(p / "migrations"), 1, {"G001"}),
    "migration behind": (
        lambda p: fall_behind(p / "schema.yaml"), 1, {"G003"},
    ),
    "migration of a bad name": (
        lambda p: (p / "migrations" / "1_x.sql").write_text("select 1;"), 1, {"R001"},
    ),
    "two migrations of a version": (
        lambda p: (p / "migrations" / f"{BASELINE[:14]}_x.sql").write_text("select 1;"),
        1, {"R009"},
    ),
    "migration with transaction control": (
        lambda p: (p / "migrations" / "20270101000000_x.sql").write_text("commit;"), 1, {"R008"},
    ),
    "migration not UTF-8": (
        lambda p: (p / "migrations" / "20270101000000_x.sql").write_bytes(b"\xff"), 1, {"C004"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found(kind: str, project: Path, capsys: Output) -> None:
    damage, code, wanted = DAMAGES[kind]
    damage(project)
    capsys.readouterr()
    found, _, err = check(capsys)
    assert found == code, err
    assert codes(err)
    assert codes(err) <= wanted, err


def test_explain_lists_every_effect_of_every_decision(capsys: Output) -> None:
    code, out, err = check(capsys, "--explain")
    assert (code, err) == (0, "")
    assert "\nvector-index\n  because: An IVFFlat index" in out
    assert "  doc_chunks.doc_chunks_embedding_idx: method hnsw (stated: ivfflat)\n" in out


def test_explain_comes_as_json(capsys: Output) -> None:
    code, out, _ = check(capsys, "--explain", "--json")
    assert code == 0
    found = json.loads(out)
    assert {tuple(e) for e in found} == {
        ("decision", "because", "subject", "fact", "stated", "decided")
    }
    assert len(found) == len(load_effects())


def load_effects() -> tuple[object, ...]:
    return compiler.load("schema.yaml").effects


# ---- the cache of check -----------------------------------------------------------------------


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one with each full check."""
    done: list[str] = []
    real = compiler.check_project

    def counted(spec_path: str, *more: Any) -> Any:
        done.append(spec_path)
        return real(spec_path, *more)

    monkeypatch.setattr(compiler, "check_project", counted)
    return done


def settle(path: Path) -> None:
    """Makes a file look as if it was written a while ago."""
    past = time.time_ns() - 60 * 10**9
    os.utime(path, ns=(past, past))


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("stale", [False, True])
def test_a_hit_prints_and_returns_the_same(
    options: list[str], stale: bool, capsys: Output, checks: list[str]
) -> None:
    if stale:
        edit(Path("docs/schema-supabase.md"), "(default `0`)", "(default `1`)")
        settle(Path("docs/schema-supabase.md"))
    first = check(capsys, *options)
    assert check(capsys, *options) == first
    assert first[0] == stale
    assert len(checks) == 1


def test_a_hit_serves_the_other_format_too(capsys: Output, checks: list[str]) -> None:
    Path("docs/reference/tables.md").unlink()
    settle(Path("docs/reference"))
    text = check(capsys)
    data = check(capsys, "--json")
    assert len(checks) == 1
    assert data == check(capsys, "--json", "--no-cache")
    assert text == check(capsys, "--no-cache")


def generated(spec: Path) -> tuple[File, ...]:
    """Every generated file; of the many JSON Schemas and pgTAP tests one each."""
    found = compiler.load(str(spec))
    files = (*compiler.generate(found), pgtap_files(found.schema, found.data["pgtap"])[1])
    several = [file for file in files if file.path.endswith(".json")]
    return tuple(file for file in files if file not in several[1:])


def inputs(project: Path) -> Iterator[Path]:
    """Every file that the verdict depends on."""
    yield project / "schema.yaml"
    yield project / "docs" / "schema-supabase.md"
    for file in generated(project / "schema.yaml"):
        yield project / file.path
    yield project / "migrations" / BASELINE


def test_an_edit_of_any_input_is_noticed(project: Path, capsys: Output, checks: list[str]) -> None:
    for path in inputs(project):
        kept, stat = path.read_bytes(), path.stat()
        check(capsys)
        count = len(checks)
        check(capsys)
        assert len(checks) == count
        path.write_bytes(kept[:-1] + b" " if path.suffix != ".md" else kept + b"\n")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        check(capsys)
        assert len(checks) == count + 1, path
        path.write_bytes(kept)
        settle(path)


def test_what_is_edited_during_a_check_is_not_remembered(
    project: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compiler.check_project

    def edited(spec_path: str, *more: Any) -> object:
        verdict = real(spec_path, *more)
        edit(project / "docs" / "schema-supabase.md", "(default `0`)", "(default `1`)")
        return verdict

    monkeypatch.setattr(compiler, "check_project", edited)
    assert check(capsys)[0] == 0
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert check(capsys)[0] == 1


def test_a_removed_input_is_noticed(project: Path, capsys: Output, checks: list[str]) -> None:
    for path in inputs(project):
        kept = path.read_bytes()
        check(capsys)
        count = len(checks)
        path.unlink()
        check(capsys)
        assert len(checks) == count + 1, path
        path.write_bytes(kept)


def test_an_added_migration_is_noticed(capsys: Output, checks: list[str]) -> None:
    check(capsys)
    Path("migrations/20270101000000_x.sql").write_text("select 1;")
    check(capsys)
    assert len(checks) == 2


def test_an_added_folder_of_migrations_is_noticed(capsys: Output, checks: list[str]) -> None:
    shutil.move("migrations", "elsewhere")
    check(capsys)
    shutil.move("elsewhere", "migrations")
    assert check(capsys)[0] == 0
    assert len(checks) == 2


def test_a_changed_program_is_noticed(
    project: Path, capsys: Output, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "package"
    (package / "sub").mkdir(parents=True)
    (package / "sub" / "a.py").write_text("1")
    monkeypatch.setattr(check_cache, "__file__", str(package / "check_cache.py"))
    check(capsys)
    check(capsys)
    assert len(checks) == 1
    (package / "sub" / "a.py").write_text("12")
    check(capsys)
    assert len(checks) == 2


def test_another_interpreter_is_noticed(
    capsys: Output, checks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(capsys)
    monkeypatch.setattr(sys, "version", "4.0")
    check(capsys)
    assert len(checks) == 2


def test_no_cache_checks_everything(capsys: Output, checks: list[str]) -> None:
    check(capsys)
    check(capsys, "--no-cache")
    assert len(checks) == 2


def test_a_failed_check_is_not_remembered(capsys: Output, checks: list[str]) -> None:
    Path("docs/schema-supabase.md").unlink()
    assert check(capsys)[0] == 2
    assert check(capsys)[0] == 2
    assert len(checks) == 2


def damaged_cache(project: Path) -> Iterator[bytes]:
    good = (project / ".codered" / NAME).read_bytes()
    data = json.loads(good)
    yield from (b"", b"{", b"[]", b"null", b"1", b"\xff", b"[" * 100_000, good[:-9], b"{}")
    for key in data:
        yield json.dumps({k: v for k, v in data.items() if k != key}).encode()
        if key not in ("files", "folders"):
            for value in (None, "x", [1]):
                yield json.dumps({**data, key: value}).encode()
    for key in data["text"]:
        yield json.dumps({**data, "text": {**data["text"], key: 5}}).encode()


def test_a_damaged_cache_is_ignored(project: Path, capsys: Output, checks: list[str]) -> None:
    good = check(capsys)
    for content in damaged_cache(project):
        (project / ".codered" / NAME).write_bytes(content)
        count = len(checks)
        assert check(capsys) == good
        assert len(checks) == count + 1, content


def test_a_cache_that_cannot_be_written_does_not_matter(capsys: Output) -> None:
    Path(".codered").write_text("a file")
    assert check(capsys)[0] == 0
    assert check(capsys)[0] == 0


# ---- generate, fmt, sql -----------------------------------------------------------------------


def test_generate_of_an_up_to_date_project_writes_nothing(capsys: Output) -> None:
    assert main(["generate"]) == 0
    assert capsys.readouterr().out == "generated files are up to date\n"


def test_generate_writes_what_is_missing_and_nothing_else(capsys: Output) -> None:
    for file in generated(Path("schema.yaml")):
        path = Path(file.path)
        path.unlink()
        assert main(["generate", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"written": [file.path]}
        assert path.read_text("utf-8") == file.text


def test_generate_check_finds_each_changed_file(project: Path, capsys: Output) -> None:
    for path in inputs(project):
        if path.name in ("schema.yaml", "schema-supabase.md"):
            continue
        kept = path.read_bytes()
        path.write_bytes(kept + b"-- changed\n")
        assert main(["generate", "--check"]) == 1
        out, err = capsys.readouterr()
        assert (out, codes(err)) == ("", {"G001"})
        assert path.name in err
        assert path.read_bytes() == kept + b"-- changed\n"
        path.write_bytes(kept)


def test_generate_check_of_an_up_to_date_project_is_content(capsys: Output) -> None:
    assert main(["generate", "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}


def test_pgtap_tests_are_made_where_the_spec_wants_them(project: Path, capsys: Output) -> None:
    wanted = pgtap_files(compiler.load("schema.yaml").schema, "tests/database")
    edit(Path("schema.yaml"), "pgtap: supabase/tests", "pgtap: tests/database")
    assert main(["generate", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert written == [file.path for file in wanted]
    assert [(project / f.path).read_text("utf-8") for f in wanted] == [f.text for f in wanted]


def test_no_pgtap_tests_are_made_unless_the_spec_wants_them(capsys: Output) -> None:
    shutil.rmtree("supabase")
    edit(Path("schema.yaml"), "pgtap: supabase/tests\n")
    assert main(["generate"]) == 0
    assert capsys.readouterr().out == "generated files are up to date\n"
    assert not Path("supabase").exists()


@pytest.mark.parametrize("folder", ["../tests", "/tests", "a//b", "a/../b", "", ".", "a/b\n"])
def test_pgtap_tests_stay_in_the_project(folder: str, capsys: Output) -> None:
    edit(Path("schema.yaml"), "pgtap: supabase/tests", f"pgtap: {json.dumps(folder)}")
    assert main(["generate"]) == 2
    assert codes(capsys.readouterr().err) == {"S009"}


@pytest.mark.parametrize("package", ["hypothesis", "psycopg"])
def test_what_pgtap_tests_are_made_with_is_named(
    package: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for command in ("generate", "check"):
        assert main([command]) == 2
        err = capsys.readouterr().err
        assert codes(err) == {"C008"}
        assert package in err
    edit(Path("schema.yaml"), "pgtap: supabase/tests\n")
    assert main(["generate"]) == 0


@pytest.mark.parametrize("folder", ["docs/reference", "supabase/tests", "codered_spec/generated"])
def test_a_file_that_is_generated_no_more_is_named(folder: str, capsys: Output) -> None:
    path = Path(folder) / "gone.txt"
    path.write_text(f"-- {GENERATED}\nselect 1;\n")
    own = path.with_name("own.txt")
    own.write_text(f"\n-- {GENERATED}\n")
    for command in (["generate"], ["generate", "--check"], ["check"], ["check"]):
        assert main(command) == 1
        err = capsys.readouterr().err
        assert codes(err) == {"G001"}
        assert str(path) in err
        assert str(own) not in err
    assert path.exists()
    path.unlink()
    assert main(["check"]) == 0


def test_generate_points_to_the_first_line_that_differs(capsys: Output) -> None:
    path = Path("docs/reference/tables.md")
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:9], "changed\n", *lines[10:]]), "utf-8")
    main(["generate", "--check"])
    assert f"{path}:10:1: error G001" in capsys.readouterr().err


def test_generate_never_rewrites_a_migration(capsys: Output) -> None:
    path = Path("migrations") / BASELINE
    edit(path, "slug text", "slug  text")
    before = path.read_bytes()
    assert main(["generate"]) == 1
    assert codes(capsys.readouterr().err) == {"G001"}
    assert path.read_bytes() == before


def test_generate_makes_the_first_migration(capsys: Output) -> None:
    before = (Path("migrations") / BASELINE).read_bytes()
    shutil.rmtree("migrations")
    assert main(["generate"]) == 0
    assert capsys.readouterr().out == f"wrote migrations/{BASELINE}\n"
    assert (Path("migrations") / BASELINE).read_bytes() == before


def test_generate_into_a_folder_that_is_a_file_ends_with_2(capsys: Output) -> None:
    shutil.rmtree("docs/reference")
    Path("docs/reference").write_text("a file")
    assert main(["generate"]) == 2
    assert codes(capsys.readouterr().err) == {"C003"}


def test_fmt_leaves_a_canonical_file_alone(capsys: Output) -> None:
    before = Path("schema.yaml").stat()
    assert main(["fmt"]) == 0
    assert capsys.readouterr().out == "schema.yaml: in canonical format\n"
    assert Path("schema.yaml").stat().st_mtime_ns == before.st_mtime_ns


def test_fmt_restores_the_canonical_format(capsys: Output) -> None:
    path = Path("schema.yaml")
    before = path.read_bytes()
    path.write_text(
        path.read_text("utf-8").replace("  type: text\n", '  type:   "text"\n'), "utf-8"
    )
    assert main(["fmt"]) == 0
    assert capsys.readouterr().out == "schema.yaml: rewritten\n"
    assert path.read_bytes() == before


def test_fmt_removes_what_means_nothing() -> None:
    path = Path("schema.yaml")
    before = path.read_text("utf-8")
    path.write_text("---\n" + before.partition("\n")[2] + "\n\n...\n", "utf-8")
    assert main(["fmt"]) == 0
    assert path.read_text("utf-8") == before


def test_fmt_makes_line_ends_canonical() -> None:
    path = Path("schema.yaml")
    before = path.read_bytes()
    path.write_bytes(before.replace(b"\n", b"\r\n"))
    assert main(["fmt"]) == 0
    assert path.read_bytes() == before


def test_fmt_orders_the_sections() -> None:
    path = Path("schema.yaml")
    before = path.read_text("utf-8")
    head, _, decisions = before.partition("\ndecisions:")
    first, _, rest = head.partition("format: 1\n")
    path.write_text(f"{first}decisions:{decisions}{rest}format: 1\n", "utf-8")
    assert main(["fmt"]) == 0
    assert path.read_text("utf-8") == before


def test_fmt_check_changes_nothing(capsys: Output) -> None:
    path = Path("schema.yaml")
    edit(path, "schema: codered", "schema:  codered")
    before = path.read_bytes()
    assert main(["fmt", "--check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"changed": True}
    assert path.read_bytes() == before


def test_fmt_refuses_to_lose_a_comment(capsys: Output) -> None:
    path = Path("schema.yaml")
    edit(path, "format: 1\n", "format: 1 # why\n")
    before = path.read_bytes()
    assert main(["fmt"]) == 2
    assert "schema.yaml:2:11: error S010" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_sql_is_the_text_that_the_migration_has(capsys: Output) -> None:
    assert main(["sql"]) == 0
    text = capsys.readouterr().out
    assert text.count("create table codered.") == 22  # one for the keys of tokens
    assert main(["sql", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sql": text}


# ---- with a database --------------------------------------------------------------------------


def migrated(database: str) -> None:
    assert main(["migrate", "--dsn", database]) == 0


def test_sql_makes_the_schema_in_an_empty_database(
    connection: Connection, database: str, capsys: Output
) -> None:
    main(["sql"])
    with connection.transaction():
        connection.execute(capsys.readouterr().out.encode())
    assert main(["verify", "--dsn", database]) == 0


def test_migrate_applies_what_is_pending(database: str, capsys: Output) -> None:
    assert main(["migrate", "--dsn", database]) == 0
    out, err = capsys.readouterr()
    assert out == "1 migration applied\n"
    assert f"applied {BASELINE}" in err


def test_migrate_twice_has_nothing_to_do(database: str, capsys: Output) -> None:
    migrated(database)
    capsys.readouterr()
    assert main(["migrate", "--dsn", database]) == 0
    assert capsys.readouterr().out == "nothing to apply\n"


def test_migrate_speaks_json(database: str, capsys: Output) -> None:
    assert main(["migrate", "--dsn", database, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"applied": [BASELINE]}


def test_a_dry_run_applies_nothing(database: str, capsys: Output) -> None:
    assert main(["migrate", "--dsn", database, "--dry-run"]) == 0
    assert f"would apply {BASELINE}" in capsys.readouterr().err
    assert main(["status", "--dsn", database]) == 0
    assert capsys.readouterr().out == f"pending       {BASELINE}\n"


def test_migrate_to_an_unknown_version_ends_with_2(database: str, capsys: Output) -> None:
    assert main(["migrate", "--dsn", database, "--to", "1"]) == 2
    assert codes(capsys.readouterr().err) == {"R006"}


def test_migrate_stops_at_a_version(database: str, capsys: Output) -> None:
    Path("migrations/20270101000000_x.sql").write_text("select 1;")
    assert main(["migrate", "--dsn", database, "--to", BASELINE[:14]]) == 0
    capsys.readouterr()
    assert main(["status", "--dsn", database, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"migration": BASELINE, "state": "applied"},
        {"migration": "20270101000000_x.sql", "state": "pending"},
    ]


def test_a_failing_migration_ends_with_3(database: str, capsys: Output) -> None:
    Path("migrations/20270101000000_x.sql").write_text("select 1;\nselect gone;")
    assert main(["migrate", "--dsn", database]) == 3
    err = capsys.readouterr().err
    assert "migrations/20270101000000_x.sql:2:8: error R005" in err


def test_an_edited_migration_is_a_finding(database: str, capsys: Output) -> None:
    migrated(database)
    edit(Path("migrations") / BASELINE, "slug text", "slug varchar(9)")
    capsys.readouterr()
    assert main(["status", "--dsn", database]) == 1
    out, err = capsys.readouterr()
    assert (out, codes(err)) == (f"edited        {BASELINE}\n", {"R002"})


def test_a_lost_migration_is_a_finding(database: str, capsys: Output) -> None:
    migrated(database)
    (Path("migrations") / BASELINE).unlink()
    capsys.readouterr()
    assert main(["status", "--dsn", database]) == 1
    out, err = capsys.readouterr()
    assert (out, codes(err)) == (f"missing       {BASELINE[:14]}\n", {"R003"})


def test_verify_finds_no_difference_after_migrate(database: str, capsys: Output) -> None:
    migrated(database)
    capsys.readouterr()
    assert main(["verify", "--dsn", database]) == 0
    assert capsys.readouterr().out == ("no difference: the database is what schema.yaml says\n")


def test_verify_names_every_difference(
    connection: Connection, database: str, capsys: Output
) -> None:
    migrated(database)
    connection.execute("alter table codered.projects alter slug drop not null")
    connection.execute("drop table codered.user_overrides")
    capsys.readouterr()
    assert main(["verify", "--dsn", database]) == 1
    out = capsys.readouterr().out
    assert "projects.slug" in out
    assert "user_overrides" in out
    assert out.endswith("2 differences between the database and schema.yaml\n")


def test_verify_speaks_json(connection: Connection, database: str, capsys: Output) -> None:
    migrated(database)
    connection.execute("alter table codered.projects alter slug drop not null")
    capsys.readouterr()
    assert main(["verify", "--dsn", database, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert found.keys() == {"kind", "address", "what", "want", "have", "message"}
    assert found["address"] == "projects.slug"


def test_the_dsn_comes_from_the_environment(
    database: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    assert [main([command]) for command in ("migrate", "status", "verify", "introspect")] == [0] * 4
    assert "all well" not in capsys.readouterr().err


def test_an_option_beats_the_environment(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada@127.0.0.1:1/x")
    assert main(["status", "--dsn", database]) == 0


def test_what_is_introspected_is_the_model_again(database: str, capsys: Output) -> None:
    migrated(database)
    capsys.readouterr()
    assert main(["introspect", "--dsn", database]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    Path("live.yaml").write_text(out, "utf-8")
    found, wanted = (physical(load_spec(name)) for name in ("live.yaml", "schema.yaml"))
    # a server words the query of a view in its own way
    assert [(v.name, v.comment) for v in found.views] == [(v.name, v.comment) for v in wanted.views]
    assert replace(found, views=()) == replace(wanted, views=())


def test_what_is_introspected_is_canonical(database: str, capsys: Output) -> None:
    migrated(database)
    capsys.readouterr()
    main(["introspect", "--dsn", database])
    Path("live.yaml").write_text(capsys.readouterr().out, "utf-8")
    assert main(["fmt", "--check", "--spec", "live.yaml"]) == 0


def test_introspect_speaks_json(database: str, capsys: Output) -> None:
    migrated(database)
    capsys.readouterr()
    assert main(["introspect", "--dsn", database, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["format"], data["schema"], len(data["tables"])) == (1, "codered", 21)


def test_introspect_reads_any_schema(connection: Connection, database: str, capsys: Output) -> None:
    connection.execute("create schema other")
    connection.execute(
        "create table other.t (id uuid primary key, total numeric(10,2) default 1.5)"
    )
    Path("schema.yaml").unlink()
    assert main(["introspect", "--dsn", database, "--schema", "other"]) == 0
    Path("live.yaml").write_text(capsys.readouterr().out, "utf-8")
    (table,) = load_spec("live.yaml").tables
    assert [str(c.type) for c in table.columns] == ["uuid", "numeric(10,2)"]


def test_introspect_says_what_a_spec_cannot_contain(
    connection: Connection, database: str, capsys: Output
) -> None:
    connection.execute("create schema other")
    connection.execute("create table other.t (id uuid primary key, at time)")
    assert main(["introspect", "--dsn", database, "--schema", "other"]) == 1
    out, err = capsys.readouterr()
    assert codes(err) == {"V005"}
    assert "      at:" not in out


# ---- databases that refuse --------------------------------------------------------------------

UNREACHABLE = [
    "postgresql://ada:s3cret@127.0.0.1:1/brain",
    "host=127.0.0.1 port=1 user=ada password=s3cret",
    "postgresql://ada:s3cret@nowhere.invalid/brain?connect_timeout=2",
    "postgresql://ada:s3cret@127.0.0.1:port/brain",
    "postgresql://ada:s3@cret@127.0.0.1:1/brain",
    "pasword=s3cret",
    "s3cret",
]


@pytest.mark.parametrize("command", ONLINE)
@pytest.mark.parametrize("dsn", UNREACHABLE[:2])
def test_an_unreachable_database_ends_with_3(command: str, dsn: str, capsys: Output) -> None:
    assert main([command, "--dsn", dsn]) == 3
    out, err = capsys.readouterr()
    assert (out, codes(err)) == ("", {"P001"})


@pytest.mark.parametrize("options", [[], ["--json"], ["-v"]])
@pytest.mark.parametrize("dsn", UNREACHABLE)
def test_a_password_is_never_printed(
    dsn: str, options: list[str], capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    assert main(["status", *options]) == 3
    out, err = capsys.readouterr()
    assert "s3cret" not in out + err
    assert codes(err.replace('"', " ").replace(",", " ")) <= {"P001", "P008"}


@pytest.mark.parametrize("command", ["verify", "introspect"])
def test_a_database_without_the_schema_ends_with_1(
    command: str, database: str, capsys: Output
) -> None:
    assert main([command, "--dsn", database]) == 1
    out, err = capsys.readouterr()
    assert (out, codes(err)) == ("", {"V001"})


def test_status_of_an_empty_database_says_pending(database: str, capsys: Output) -> None:
    assert main(["status", "--dsn", database]) == 0
    assert capsys.readouterr().out == f"pending       {BASELINE}\n"


@pytest.fixture
def read_only(connection: Connection, database: str) -> str:
    """A database in which nothing can be written."""
    name = connection.info.dbname
    connection.execute(
        f"alter database {identifier(name)} set default_transaction_read_only = on".encode()
    )
    return database


def test_migrate_of_a_read_only_database_ends_with_3(read_only: str, capsys: Output) -> None:
    assert main(["migrate", "--dsn", read_only]) == 3
    assert codes(capsys.readouterr().err) == {"P004"}


def test_the_other_commands_need_no_write(database: str, connection: Connection) -> None:
    migrated(database)
    name = identifier(connection.info.dbname)
    connection.execute(f"alter database {name} set default_transaction_read_only = on".encode())
    for command in ("status", "verify", "introspect"):
        assert main([command, "--dsn", database]) == 0


def test_pgvector_in_another_schema_ends_with_3_and_leaves_nothing(
    connection: Connection, database: str, capsys: Output
) -> None:
    connection.execute("create extension vector with schema public")
    assert main(["migrate", "--dsn", database]) == 3
    assert codes(capsys.readouterr().err) <= {"P005", "R005"}
    assert connection.execute("select to_regnamespace('codered')").fetchone() == (None,)


@pytest.fixture
def bare(server: EmbeddedServer) -> Iterator[str]:
    """A database without anything of Supabase in it, whose role may not create extensions."""
    name = "bare_" + os.urandom(8).hex()
    with connect(server.dsn(role="supabase_admin")) as connection:
        connection.execute(f"create database {name} template template0".encode())
    yield server.dsn(database=name)
    with connect(server.dsn(role="supabase_admin")) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def test_a_database_that_refuses_pgvector_ends_with_3_and_says_so(
    bare: str, capsys: Output
) -> None:
    assert main(["migrate", "--dsn", bare]) == 3
    err = capsys.readouterr().err
    assert codes(err) <= {"R005", "P005", "P009"}
    assert "permission denied" in err


# ---- the embedded server ----------------------------------------------------------------------


@pytest.fixture
def embedded(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose own server may be started, and is stopped in the end."""
    monkeypatch.undo()
    monkeypatch.chdir(project)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    yield project
    EmbeddedServer(project / ".codered").stop()


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file of the project outside of the state folder."""
    files = (p for p in root.rglob("*") if p.is_file() and ".codered" not in p.parts)
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def test_the_demo_runs_end_to_end_twice_and_changes_nothing(embedded: Path, capsys: Output) -> None:
    before = snapshot(embedded)
    for _ in range(2):
        assert main(["demo"]) == 0
        out, err = capsys.readouterr()
        assert "spec        21 tables, 235 columns in the schema codered" in out
        assert "verified    no difference" in out
        assert "rows        36 in 21 tables" in out
        assert "equal to the runs" in out
        assert "5/5" in err
    assert main(["demo", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert (run["tables"], run["differences"]) == (21, [])
    assert run["rows"]["agent_runs"] == 6
    own, other = run["access"]
    assert (own["role"], own["rows"], own["writes"]) == ("codered_agent", 36, True)
    assert (other["role"], other["rows"], other["writes"]) == ("codered_agent", 4, False)
    assert run["rows"]["llm_usage_daily"] == 5
    assert min(run["rows"].values()) == 1
    assert {usage["total"]["cost_usd"] for usage in run["usage"]} == {"0.068140"}
    assert snapshot(embedded) == before
    # the other commands find the server that runs
    assert main(["db", "url", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"url"}
    assert main(["db", "url", "--nonsense"]) == 2
    assert "C001" in capsys.readouterr().err
    assert main(["db", "url"]) == 0
    dsn = capsys.readouterr().out.strip()
    assert main(["verify", "--dsn", dsn.replace("/postgres?", "/codered_demo?")]) == 0
    assert main(["migrate"]) == 0
    assert main(["verify"]) == 0
    assert main(["db", "stop"]) == 0
    assert capsys.readouterr().out.endswith("stopped\n")
    assert main(["db", "stop"]) == 0
    assert capsys.readouterr().out == "not running\n"


def test_the_demo_copies_no_document_out_of_its_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = project.parent / "document.md"
    shutil.copyfile("docs/schema-supabase.md", outside)
    edit(Path("schema.yaml"), "docs/schema-supabase.md", "../document.md")
    before = {p: p.read_bytes() for p in project.parent.rglob("*") if p.is_file()}
    monkeypatch.setattr(EmbeddedServer, "start", lambda _: None)
    assert main(["demo"]) == 3
    after = {p for p in project.parent.rglob("*") if p.is_file()}
    assert after - before.keys() == {project / ".codered" / "demo" / "schema.yaml"}
    assert all(p.read_bytes() == content for p, content in before.items())


def test_the_demo_needs_a_document(capsys: Output) -> None:
    edit(Path("schema.yaml"), "document: docs/schema-supabase.md\n", "")
    assert main(["demo"]) == 2
    assert "names no document" in capsys.readouterr().err


def test_every_command_of_the_parser_has_a_function() -> None:
    choices = next(a for a in arguments.parser()._actions if a.dest == "command").choices
    assert set(choices or ()) == set(COMMANDS)


# ---- contract ---------------------------------------------------------------------------------


@pytest.fixture
def scratch(database: str, capsys: Output) -> str:
    """A database with the schema of the project."""
    migrated(database)
    capsys.readouterr()
    return database


def test_contract_says_a_line_for_each_table(scratch: str, capsys: Output) -> None:
    arguments = ["contract", "projects", "agents", "--rows", "20", "--dsn", scratch]
    assert main([*arguments, "--seed", "5"]) == 0
    out, err = capsys.readouterr()
    first, second, last = out.splitlines()
    assert re.fullmatch(r"projects +\d+ rows  no findings", first)
    assert re.fullmatch(r"agents +\d+ rows  no findings", second)
    assert re.fullmatch(r"2 tables, \d+ rows, no findings; seed 5", last)
    assert err == ""
    assert main(arguments) == 0
    assert re.search(r"; seed \d+$", capsys.readouterr().out)


def test_contract_finds_what_is_wrong_and_ends_with_1(scratch: str, capsys: Output) -> None:
    with connect(scratch) as connection:
        connection.execute("alter table codered.projects drop constraint projects_status_values")
    arguments = ["contract", "projects", "--rows", "0", "--seed", "-5", "--dsn", scratch]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert " rows  1 finding\n1 table, " in out
    assert "projects.status: error V006: projects_status_values: " in err
    assert "repeat: codered-spec contract projects --rows 0 --seed -5" in err
    assert codes(err) == {"V006"}
    assert main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert (data["seed"], data["rows"]) == (-5, 0)
    (table,) = data["tables"]
    assert (table["table"], table["ok"], table["rows"]["random"]) == ("projects", False, 0)
    (finding,) = table["findings"]
    assert (finding["code"], finding["clause"]) == ("V006", "projects_status_values")
    assert json.loads(err)["code"] == "V006"
    assert out.isascii()


def test_contract_with_v_names_what_no_row_breaks(scratch: str, capsys: Output) -> None:
    assert main(["contract", "task_runs", "--rows", "1", "-v", "--dsn", scratch]) == 0
    err = capsys.readouterr().err
    assert err == "task_runs: no row breaks alone: task_runs_project_id_fkey\n"


def test_contract_needs_the_schema(database: str, capsys: Output) -> None:
    assert main(["contract", "--dsn", database]) == 1
    out, err = capsys.readouterr()
    assert (out, codes(err)) == ("", {"V001"})
    assert "codered-spec migrate" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--rows", "-1"], 2, "C001"),
        (["--rows", "many"], 2, "C001"),
        (["--seed", "1.5"], 2, "C001"),
        (["--spec", "none.yaml"], 2, "C002"),
        (["taks"], 2, "M001"),
        (["--dsn", "host=127.0.0.1 port=1"], 3, "P001"),
        (["--dsn", "s3cret"], 3, "P008"),
    ],
)
def test_contract_that_cannot_run(
    arguments: list[str], code: int, said: str, database: str, capsys: Output
) -> None:
    assert main(["contract", "--dsn", database, *arguments]) == code
    out, err = capsys.readouterr()
    assert (out, codes(err)) == ("", {said})


def test_contract_without_hypothesis_names_the_extra(
    database: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert main(["contract", "--dsn", database]) == 2
    err = capsys.readouterr().err
    assert codes(err) == {"C008"}
    assert "codered-spec[contract]" in err
