"""Each hostile shape of SAFETY is refused by our own code, under its own name, before git is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integration import git
from integration.judge import PatchRules, judge
from integration.mirror import Mirror
from integration.patch_errors import (
    PatchDoesNotApply,
    PatchRefused,
    PatchTooLarge,
    SecretFound,
    SuspiciousName,
    SymlinkChange,
)
from tests.integration.git.conftest import Project, build, contents, new_file

SUBMODULE = (
    b"diff --git a/lib b/lib\nnew file mode 160000\nindex 0000000..1111111\n--- /dev/null\n+++ b/lib\n"
    b"@@ -0,0 +1 @@\n+Subproject commit 1111111111111111111111111111111111111111\n"
)
RENAME_OUT = (
    b"diff --git a/src/app.py b/elsewhere/app.py\nsimilarity index 100%\n"
    b"rename from src/app.py\nrename to elsewhere/app.py\n"
)
RENAME_IN = (
    b"diff --git a/elsewhere/app.py b/src/app.py\nsimilarity index 100%\n"
    b"rename from elsewhere/app.py\nrename to src/app.py\n"
)
COPY_OUT = (
    b"diff --git a/elsewhere/app.py b/src/app.py\nsimilarity index 100%\n"
    b"copy from elsewhere/app.py\ncopy to src/app.py\n"
)
RENAMED_LINK = b"diff --git a/link b/moved\nsimilarity index 100%\nrename from link\nrename to moved\n"
COPIED_LINK = b"diff --git a/link b/moved\nsimilarity index 100%\ncopy from link\ncopy to moved\n"
BINARY = (
    b"diff --git a/x.bin b/x.bin\nnew file mode 100644\n"
    b"index 0000000000000000000000000000000000000000..f76dd238ade08917e6712764a16a22005a50573d\n"
    b"GIT binary patch\nliteral 1\nIcmZPo000310RR91\n\nliteral 0\nHcmV?d00001\n\n"
)
MODE_ONLY = b"diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode %s\n"


def quoted(name: bytes, mode: bytes = b"100644") -> bytes:
    """Return a patch that adds a file whose name is given in C quotes."""
    return b'diff --git "a/%s" "b/%s"\nnew file mode %s\n--- /dev/null\n+++ "b/%s"\n@@ -0,0 +1 @@\n+x\n' % (
        name,
        name,
        mode,
        name,
    )


HOSTILE: list[tuple[str, bytes, str]] = [
    ("parent folder", new_file("../evil"), "path-outside-repository"),
    ("parent folder inside", new_file("src/../../evil"), "path-outside-repository"),
    ("absolute", new_file("/etc/passwd"), "path-outside-repository"),
    ("drive letter", new_file("C:/windows/x"), "path-outside-repository"),
    ("empty component", new_file("src//x"), "path-outside-repository"),
    ("dot component", new_file("src/./x"), "path-outside-repository"),
    ("backslash parent", new_file("..\\evil"), "path-outside-repository"),
    ("git folder", new_file(".git/config"), "git-directory"),
    ("git hook", new_file(".git/hooks/post-checkout"), "git-directory"),
    ("nested git folder", new_file("src/.git/config"), "git-directory"),
    ("git folder upper case", new_file(".GIT/config"), "git-directory"),
    ("NTFS short name", new_file("git~1/config"), "git-directory"),
    ("NTFS stream", new_file(".git::$INDEX_ALLOCATION/config"), "git-directory"),
    ("NTFS trailing dot", new_file(".git./config"), "git-directory"),
    ("NTFS trailing space", new_file(".git /config"), "git-directory"),
    ("NTFS backslash", new_file(".git\\config"), "git-directory"),
    ("HFS ignorable", new_file(".g\u200cit/config"), "git-directory"),
    ("HFS byte order mark", new_file(".git\ufeff/config"), "git-directory"),
    ("full-width git", new_file("\uff0e\uff47\uff49\uff54/config"), "git-directory"),
    ("quoted git folder", quoted(b"\\056git/config"), "git-directory"),
    ("git folder itself a link", new_file(".git", "/tmp", "120000"), "git-directory"),
    ("hook manager", new_file(".husky/pre-commit"), "hooks-path"),
    ("hook folder", new_file("tools/hooks/pre-push"), "hooks-path"),
    ("submodule", SUBMODULE, "submodule-change"),
    ("submodule list", new_file(".gitmodules", "[submodule]"), "submodule-change"),
    ("submodule list upper case", new_file("sub/.GitModules", "[submodule]"), "submodule-change"),
    ("link to a hook", new_file("a", ".git/hooks", "120000"), "symlink-change"),
    ("link to a system file", new_file("a", "/etc/passwd", "120000"), "symlink-change"),
    ("changed link", b"diff --git a/l b/l\nindex 1111111..2222222 120000\n--- a/l\n+++ b/l\n@@ -1 +1 @@\n"
     b"-a\n\\ No newline at end of file\n+/etc\n\\ No newline at end of file\n", "symlink-change"),
    ("removed link", b"diff --git a/l b/l\ndeleted file mode 120000\nindex 1111111..0000000\n--- a/l\n"
     b"+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\\ No newline at end of file\n", "symlink-change"),
    ("attributes", new_file(".gitattributes", "* filter=x"), "gitattributes-change"),
    ("attributes below", new_file("src/.gitattributes", "* filter=x"), "gitattributes-change"),
    ("setuid", new_file("x", "x\n", "104755"), "file-mode"),
    ("group writable", new_file("x", "x\n", "100664"), "file-mode"),
    ("folder as file", new_file("x", "x\n", "040000"), "file-mode"),
    ("mode change to setuid", MODE_ONLY % b"104755", "file-mode"),
    ("option", new_file("-rf"), "suspicious-name"),
    ("option below", new_file("src/--exec=sh"), "suspicious-name"),
    ("device", new_file("CON"), "suspicious-name"),
    ("device with extension", new_file("src/nul.txt"), "suspicious-name"),
    ("superscript port", new_file("com\u00b9.py"), "suspicious-name"),
    ("backslash", new_file("src\\x"), "suspicious-name"),
    ("trailing dot", new_file("x."), "suspicious-name"),
    ("trailing space", new_file("x /y"), "suspicious-name"),
    ("colon", new_file("ab:c"), "suspicious-name"),
    ("right to left", new_file("gpj.\u202eexe"), "suspicious-name"),
    ("line break", quoted(b"a\\nb"), "suspicious-name"),
    ("escape sequence", quoted(b"a\\033[2Jb"), "suspicious-name"),
    ("not UTF-8", quoted(b"a\\377b"), "suspicious-name"),
    ("CI configuration", new_file(".github/workflows/ci.yml"), "protected-path"),
    ("CI configuration folded", new_file(".GitHub/workflows/ci.yml"), "protected-path"),
    ("GitLab", new_file(".gitlab-ci.yml"), "protected-path"),
    ("own configuration", new_file("autopack.yaml"), "protected-path"),
    ("ruleset", new_file("conf/project_ruleset_x.json"), "protected-path"),
    ("binary", BINARY, "binary-change"),
    ("conflict start", new_file("x", "<<<<<<< HEAD\n"), "conflict-markers"),
    ("conflict end", new_file("x", "a\n>>>>>>> branch\n"), "conflict-markers"),
    ("two names of one file", new_file("con1") + new_file("CON1"), "case-collision"),
    ("a device beside its small form", new_file("con") + new_file("CON"), "suspicious-name"),
    ("a device beside what is none", new_file("con1") + new_file("CON"), "suspicious-name"),
    ("link, then a write through it", new_file("a", "/tmp", "120000") + new_file("a/x"), "symlink-change"),
    ("a write through a link, then the link", new_file("a/x") + new_file("a", "/tmp", "120000"), "symlink-change"),
    ("CVE-2023-23946", RENAMED_LINK + new_file("moved/x"), "symlink-change"),
    ("CVE-2023-23946 below", RENAMED_LINK + new_file("moved/b/x"), "symlink-change"),
    ("CVE-2023-23946 by a copy", COPIED_LINK + new_file("moved/x"), "symlink-change"),
    ("CVE-2023-25652", new_file(".git/x.rej"), "git-directory"),
    ("file, then a file below it", new_file("a") + new_file("a/x"), "invalid-patch"),
    ("two Unicode forms", new_file("caf\u00e9") + new_file("cafe\u0301"), "case-collision"),
    ("empty", b"", "empty-patch"),
    ("blank", b"\n\n", "empty-patch"),
    ("prose", b"Here is the patch:\n" + new_file("x"), "invalid-patch"),
    ("plain diff", b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "invalid-patch"),
    ("hidden diff", new_file("x") + b"--- a/../y\n+++ b/../y\n@@ -1 +1 @@\n-a\n+b\n", "invalid-patch"),
    ("changed twice", new_file("x") + new_file("x"), "invalid-patch"),
]  # fmt: skip


@pytest.mark.parametrize(("patch", "code"), [pytest.param(p, c, id=i) for i, p, c in HOSTILE])
def test_hostile_shape_is_refused_by_our_code_before_git_runs(
    patch: bytes, code: str, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = Mirror(template / "mirrors" / "project.git")
    before = contents(mirror)
    base = next(iter(mirror.refs("refs/remotes").values()))
    with monkeypatch.context() as patched:

        def forbidden(*args: str, **_options: object) -> None:
            raise AssertionError(f"git was asked: {args}")

        patched.setattr(git, "run", forbidden)
        with pytest.raises(PatchRefused) as refusal:
            build(mirror, base, patch)
    assert refusal.value.code == code
    assert refusal.value.status == 422
    assert contents(mirror) == before


LINKS = PatchRules(allow_symlinks=True)


@pytest.mark.parametrize("rules", [PatchRules(), LINKS], ids=["links refused", "links allowed"])
@pytest.mark.parametrize(
    "patch",
    [
        new_file("link/x"),
        new_file("link/deep/er/x"),
        new_file("src/out/x"),
        new_file("ok.txt") + new_file("src/out/x"),
        new_file("link/app.py").replace(b"new file mode 100644\n--- /dev/null", b"--- a/link/app.py"),
        b"diff --git a/README.md b/link/x\nsimilarity index 100%\nrename from README.md\nrename to link/x\n",
        b"diff --git a/link/app.py b/y\nsimilarity index 100%\nrename from link/app.py\nrename to y\n",
    ],
)
def test_a_write_through_a_committed_link_is_refused_before_git_applies_it(
    patch: bytes, rules: PatchRules, project: Project, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "link").symlink_to("src")
    (project.path / "src" / "out").symlink_to("/tmp")
    project.commit("links")
    base = mirror.fetch(project.path, "main")
    before = contents(mirror)
    plain = git.run

    def watched(*args: str, **options: Any) -> git.Completed:
        assert args[0] != "apply", "git was asked to apply it"
        return plain(*args, **options)

    monkeypatch.setattr(git, "run", watched)
    with pytest.raises(SymlinkChange) as refusal:
        build(mirror, base, patch, rules=rules)
    assert refusal.value.code == "symlink-change"
    assert contents(mirror) == before


def test_a_link_that_the_patch_removes_is_in_nobodys_way(project: Project, mirror: Mirror) -> None:
    (project.path / "link").symlink_to("src")
    project.commit("links")
    base = mirror.fetch(project.path, "main")
    removed = (
        b"diff --git a/link b/link\ndeleted file mode 120000\n--- a/link\n+++ /dev/null\n@@ -1 +0,0 @@\n"
        b"-src\n\\ No newline at end of file\n"
    )
    made = build(mirror, base, removed + new_file("link/x"), rules=LINKS)
    assert made.paths == ("link", "link/x")
    with pytest.raises(SymlinkChange):
        build(mirror, base, removed + new_file("link/x"))


def test_a_file_below_a_plain_file_of_the_base_is_no_matter_of_links(mirror: Mirror, base: str) -> None:
    with pytest.raises(PatchDoesNotApply):
        build(mirror, base, new_file("README.md/x"))


def test_a_folder_with_a_line_break_is_judged_like_any_other(mirror: Mirror, base: str) -> None:
    patch = b'diff --git "a/a\\nb/x" "b/a\\nb/x"\n--- "a/a\\nb/x"\n+++ "b/a\\nb/x"\n@@ -1 +1 @@\n-x\n+y\n'
    with pytest.raises(PatchDoesNotApply):
        build(mirror, base, patch)


def test_names_that_nest_absurdly_deep_are_refused_before_they_are_asked_for(
    mirror: Mirror, base: str
) -> None:
    deep = "/".join(["a" * 39] * 98)
    patch = b"".join(new_file(f"{number}/{deep}") for number in range(60))
    with pytest.raises(PatchTooLarge, match="too deeply"):
        build(mirror, base, patch)


@pytest.mark.parametrize(
    ("patch", "rules"),
    [
        (RENAME_OUT, PatchRules(scope=("src/**",))),
        (RENAME_IN, PatchRules(scope=("src/**",))),
        (COPY_OUT, PatchRules(scope=("src/**",))),
        (new_file("other/x.py"), PatchRules(scope=("src/**", "docs"))),
        (new_file("SRC/x.py"), PatchRules(scope=("src/**",))),
    ],
)
def test_both_names_must_be_in_scope(patch: bytes, rules: PatchRules) -> None:
    with pytest.raises(PatchRefused) as refusal:
        judge(patch, rules)
    assert refusal.value.code == "path-out-of-scope"


SECRETS = [
    "key = AKIA" + "IOSFODNN7ABCDEFG",
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "-----BEGIN " + "PRIVATE KEY-----",
    "token: gh" + "p_" + "a1B2" * 9,
    "x = 'glpat-" + "abcDEF1234567890abcd'",
    "SLACK=xox" + "b-123456789012-abcdefABCDEF",
    "password = 'kJ8" + "sPq2Zx9LmN4vB7tR1wY6c'",
]


@pytest.mark.parametrize("line", SECRETS)
def test_secret_is_refused_on_added_lines_and_never_echoed(line: str) -> None:
    with pytest.raises(SecretFound) as refusal:
        judge(new_file("x.py", f"ok\n{line}\n"), PatchRules())
    told = f"{refusal.value} {refusal.value.detail} {refusal.value.extras}"
    assert refusal.value.line == 7
    assert line[-12:] not in told


def test_secret_on_a_removed_or_context_line_is_no_finding() -> None:
    line = SECRETS[0]
    patch = f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-{line}\n {line}\n+clean\n"
    assert judge(patch.encode(), PatchRules()).removed == 1


@pytest.mark.parametrize(
    "line",
    [
        "password = 'change-me-please-this-is-a-placeholder'",
        "aws_key = 'AKIAIOSFODNN7EXAMPLE'",
        "secret_name = 'projects/demo/secrets/database/versions/latest'",
        "token = os.environ['SERVICE_ACCESS_TOKEN_FOR_DEPLOYMENTS_2']",
        "sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
    ],
)
def test_ordinary_lines_are_no_secrets(line: str) -> None:
    assert judge(new_file("x.py", f"{line}\n"), PatchRules()).added == 1


def test_heading_underlines_are_no_conflict_markers() -> None:
    assert judge(new_file("x.rst", "Title\n=======\n\n>>> code\n"), PatchRules()).added == 4


@pytest.mark.parametrize(
    ("rules", "patch"),
    [
        (PatchRules(max_bytes=50), new_file("x", "a\n" * 50)),
        (PatchRules(max_files=1), new_file("x") + new_file("y")),
        (PatchRules(max_line_bytes=60), new_file("x", "a" * 80 + "\n")),
        (
            PatchRules(max_hunks=1),
            b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n@@ -9 +9 @@\n-a\n+b\n",
        ),
    ],
)
def test_each_bound_is_kept(rules: PatchRules, patch: bytes) -> None:
    with pytest.raises(PatchRefused) as refusal:
        judge(patch, rules)
    assert refusal.value.code == "patch-too-large"


@pytest.mark.parametrize(
    ("rules", "patch"),
    [
        (PatchRules(allow_symlinks=True), new_file("a", "target", "120000")),
        (PatchRules(allow_submodules=True), SUBMODULE),
        (PatchRules(allow_submodules=True), new_file(".gitmodules", "[submodule]")),
        (PatchRules(allow_binary=True), BINARY),
        (PatchRules(allow_gitattributes=True), new_file(".gitattributes", "* text")),
        (PatchRules(allow_hooks=True), new_file(".husky/pre-commit")),
        (PatchRules(allowed_protected=(".github/**",)), new_file(".github/workflows/ci.yml")),
        (PatchRules(), new_file("x", "x\n", "100755")),
        (PatchRules(scope=("src",)), new_file("src/deep/x.py")),
        (PatchRules(scope=("**/*.py",)), new_file("a/b/c.py")),
    ],
)
def test_rule_that_allows_lets_the_patch_pass(rules: PatchRules, patch: bytes) -> None:
    assert len(judge(patch, rules).files) == 1


def test_executable_files_can_be_forbidden() -> None:
    with pytest.raises(PatchRefused) as refusal:
        judge(new_file("x", "x\n", "100755"), PatchRules(allow_executable=False))
    assert refusal.value.code == "file-mode"


def test_name_that_the_base_already_has_may_be_unwise_but_not_unsafe() -> None:
    change = b"diff --git a/%s b/%s\n--- a/%s\n+++ b/%s\n@@ -1 +1 @@\n-a\n+b\n"
    assert judge(change.replace(b"%s", b"aux.c"), PatchRules()).paths == ("aux.c",)
    with pytest.raises(PatchRefused) as refusal:
        judge(change.replace(b"%s", b".git/config"), PatchRules())
    assert refusal.value.code == "git-directory"


def test_policy_and_breakage_are_told_apart() -> None:
    kinds = {kind.code: kind for kind in PatchRefused.__subclasses__()}
    broken = {"invalid-patch", "empty-patch", "does-not-apply", "base-moved"}
    assert {code for code, kind in kinds.items() if not kind.is_policy} == broken
    assert len(kinds) == len(PatchRefused.__subclasses__())
    assert all(kind.status == 422 for kind in kinds.values())
    assert [code for code, kind in kinds.items() if kind.retryable] == ["base-moved"]


@pytest.mark.parametrize(
    "patch",
    [new_file("a", "/tmp", "120000") + new_file("a/x"), new_file("a/x") + new_file("a", "/tmp", "120000")],
)
def test_a_patch_that_may_make_links_may_not_write_through_one(patch: bytes) -> None:
    with pytest.raises(SymlinkChange, match="lies below a"):
        judge(patch, LINKS)


def test_a_link_that_becomes_a_folder_of_the_same_patch_is_judged_by_what_is_left() -> None:
    removed = (
        b"diff --git a/a b/a\ndeleted file mode 120000\n--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n"
        b"-src\n\\ No newline at end of file\n"
    )
    assert judge(removed + new_file("a/x"), LINKS).paths == ("a", "a/x")


def test_a_file_below_more_folders_than_a_checkout_is_walked_through_is_refused(
    mirror: Mirror, base: str
) -> None:
    """Gates and later agents would fail on it, whoever they are."""
    assert build(mirror, base, new_file("d/" * 100 + "x")).paths
    with pytest.raises(SuspiciousName, match="100 folders"):
        build(mirror, base, new_file("d/" * 101 + "x"))
