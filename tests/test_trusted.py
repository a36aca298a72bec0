"""A file is trusted when only this user and root can have written it; what is checked is what is opened."""

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import trusted
from engine.bus import discovery
from engine.bus.accounts import account_line, read_accounts
from engine.bus.errors import BadAccounts, BadTls
from engine.bus.tls import TlsFiles, client_context
from engine.bus.urls import BrokerUrl
from engine.trusted import UntrustedError, open_trusted, trusted_path
from vmqtui.cli import reach
from vmqtui.cli.failures import CommandError
from vmqtui.preferences.file import PreferencesError, load_preferences

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.getuid() != 0, reason="only root can give files to others"
)
OTHER = 54_321


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a directory, both this user's alone."""
    (tmp_path / "room").mkdir(mode=0o700)
    path = tmp_path / "room" / "file"
    path.write_text("content", encoding="utf-8")
    path.chmod(0o600)
    return path


def why(path: Path) -> str:
    with pytest.raises(UntrustedError) as caught:
        open_trusted(path)
    return str(caught.value.strerror)


def test_a_file_of_this_user_on_a_path_of_this_user_is_trusted(file: Path) -> None:
    with open_trusted(file) as opened:
        assert opened.read() == b"content"
    assert trusted_path(file) == file.resolve()


def test_a_file_or_a_directory_on_its_path_that_every_user_can_write_is_not(file: Path) -> None:
    for part, mode in ((file, 0o602), (file.parent, 0o702), (file.parent.parent, 0o702)):
        before = part.stat().st_mode
        part.chmod(mode)
        assert why(file) == f"{part} can be written by every user"
        part.chmod(before)


def test_in_a_sticky_directory_others_can_not_replace_a_file_of_this_user(file: Path) -> None:
    file.parent.chmod(0o1777)
    open_trusted(file).close()
    with pytest.raises(UntrustedError, match="every user"):  # others can add files to it
        trusted_path(file.parent)


@pytest.mark.parametrize(
    ("group", "members", "private"),
    [("me", [], True), ("me", ["me"], True), ("me", ["me", "ann"], False), ("staff", [], False)],
)
def test_write_permission_of_a_group_counts_as_the_users_where_the_group_is_private(
    file: Path, monkeypatch: pytest.MonkeyPatch, group: str, members: list[str], private: bool
) -> None:
    import grp
    import pwd

    gid = file.stat().st_gid
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("me", "x", uid, gid, "", "/", "")))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, members)))
    monkeypatch.setattr(trusted, "_is_private", trusted._is_private.__wrapped__)
    file.parent.chmod(0o770)
    if private:
        open_trusted(file).close()
    else:
        assert why(file) == f"{file.parent} can be written by group {group}"


@as_root
def test_a_file_or_a_directory_on_its_path_of_another_user_is_not(file: Path) -> None:
    for part in (file, file.parent):
        os.chown(part, OTHER, -1)
        assert why(file) == f"{part} belongs to user {OTHER}"
        os.chown(part, 0, -1)


@as_root
def test_a_link_is_trusted_where_it_is_this_users_and_leads_to_what_is_trusted(
    file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    open_trusted(link).close()
    file.parent.chmod(0o777)
    assert why(link) == f"{file.parent} can be written by every user"
    file.parent.chmod(0o700)
    os.chown(link, OTHER, -1, follow_symlinks=False)
    assert why(link) == f"{link} is a link of user {OTHER}"


def test_a_directory_is_made_with_those_above_it_and_for_this_user_alone(file: Path) -> None:
    made = trusted.make_trusted(file.parent / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert trusted.make_trusted(made) == made
    file.parent.chmod(0o1777)
    assert trusted.make_trusted(file.parent / "c").is_dir()


def test_nothing_is_made_where_another_user_could_replace_it(file: Path) -> None:
    """As root with the home of another user would leave a directory there that its user can't write to."""
    file.parent.chmod(0o777)
    with pytest.raises(UntrustedError, match="every user"):
        trusted.make_trusted(file.parent / "a" / "b")
    assert not (file.parent / "a").exists()


def test_what_was_checked_is_what_is_opened(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(path: Path) -> Path:
        path.unlink()
        path.write_text("another", encoding="utf-8")
        return trusted_path(path)

    monkeypatch.setattr(trusted, "trusted_path", replace)
    assert why(file) == f"{file} was replaced while it was opened"


def test_a_pipe_of_this_user_is_trusted(tmp_path: Path) -> None:
    """As a shell's <(...) is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    writer = threading.Thread(target=pipe.write_text, args=("sesame\n", "utf-8"))
    writer.start()
    assert reach._first_line(pipe) == "sesame"
    writer.join()


def read_password(path: Path) -> None:
    path.write_text("sesame\n", encoding="utf-8")
    reach._first_line(path)


def read_accounts_file(path: Path) -> None:
    path.write_text(account_line("ann", "viewer", "sesame"), encoding="utf-8")
    read_accounts(path)


def read_ca(path: Path) -> None:
    client_context(TlsFiles(ca=str(path)))


def read_configuration(path: Path) -> None:
    path.write_text('[broker]\ntls_ca = "/tmp/ca"\n', encoding="utf-8")
    load_preferences(path)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (read_password, CommandError),
        (read_accounts_file, BadAccounts),
        (read_ca, BadTls),
        (read_configuration, PreferencesError),
    ],
)
def test_credentials_and_trust_anchors_are_read_from_trusted_files_only(
    file: Path, read: Callable[[Path], None], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMQTUI_CONFIG", str(file))
    file.parent.chmod(0o777)
    with pytest.raises(error, match="can be written by every user"):
        read(file)


def test_a_configuration_without_brokers_may_be_writable_by_others(file: Path) -> None:
    file.write_text("interval_s = 2\n", encoding="utf-8")
    file.chmod(0o666)
    assert load_preferences(file).interval_s == 2


def test_an_announcement_that_others_can_write_is_passed_over(tmp_path: Path) -> None:
    url = BrokerUrl("127.0.0.1", 7)
    path = discovery.announce({"owner": url, "viewer": url}, "lab", directory=tmp_path)
    assert discovery.find_url(user="viewer", directory=tmp_path) == url
    path.chmod(0o666)
    assert discovery.find_url(user="viewer", directory=tmp_path) is None


def test_a_runtime_directory_on_a_path_of_others_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "shared"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert (tmp_path / "shared") not in discovery.runtime_directory().parents
