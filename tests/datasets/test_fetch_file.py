"""Files come from the cache or from their server, whole and as published, or not."""

import hashlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skattn.datasets import _cache, clear_data_home, get_data_home
from skattn.datasets._cache import FILES, fetch_file

NAME = "numbers/few.csv"
PUBLISHED = b"one,two\n1,2\n"
SHA256 = hashlib.sha256(PUBLISHED).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.bodies.get(self.path)
        self.send_response(404 if body is None else 200)
        body = body or b""
        self.send_header("Content-Length", str(len(body) + self.server.lost))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """Run a server of one registered file, which loses `lost` bytes of what it says."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.bodies = {"/few.csv": PUBLISHED}
        server.lost = 0
        server.asked = []
        url = f"http://127.0.0.1:{server.server_port}/few.csv"
        remote = _cache.RemoteFile(url, f"sha256:{SHA256}")
        monkeypatch.setattr(_cache, "FILES", {NAME: remote})
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give the folder that the environment names; it does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SKATTN_DATA", str(folder))
    return folder


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_missing_file_is_downloaded(server, home):
    path = fetch_file(NAME)
    assert path == home / NAME
    assert path.read_bytes() == PUBLISHED
    assert files_below(home) == [path]


def test_a_cached_file_is_not_asked_for_again(server, home):
    fetch_file(NAME)
    assert fetch_file(NAME).read_bytes() == PUBLISHED
    assert server.asked == ["/few.csv"]


def test_a_cached_file_needs_no_pooch(server, home, monkeypatch):
    fetch_file(NAME)
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert fetch_file(NAME).read_bytes() == PUBLISHED


def test_without_pooch_a_missing_file_says_what_to_install(server, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'skattn[datasets]'")):
        fetch_file(NAME)
    assert server.asked == []


def test_other_contents_are_not_kept(server, home):
    server.bodies["/few.csv"] = b"one,two\n1,3\n"
    with pytest.raises(OSError, match="csv is missing, and its download") as caught:
        fetch_file(NAME)
    assert SHA256 in str(caught.value)
    assert hashlib.sha256(b"one,two\n1,3\n").hexdigest() in str(caught.value)
    assert files_below(home) == []


def test_half_a_file_is_not_kept(server, home):
    server.bodies["/few.csv"] = PUBLISHED[:5]
    server.lost = len(PUBLISHED) - 5
    with pytest.raises(OSError, match="csv is missing, and its download failed"):
        fetch_file(NAME)
    assert files_below(home) == []


def test_after_a_failure_the_next_call_tries_again(server, home):
    server.bodies["/few.csv"] = b"a page that says sorry"
    with pytest.raises(OSError, match="download failed"):
        fetch_file(NAME)
    server.bodies["/few.csv"] = PUBLISHED
    assert fetch_file(NAME).read_bytes() == PUBLISHED


def test_a_file_that_the_server_has_not(server, home):
    server.bodies.clear()
    with pytest.raises(OSError, match="404 Client Error") as caught:
        fetch_file(NAME)
    assert f"download {_cache.FILES[NAME].url} to {home / NAME}" in str(caught.value)
    assert files_below(home) == []


def test_no_server_at_all(server, home, monkeypatch):
    remote = _cache.RemoteFile("http://127.0.0.1:1/few.csv", f"sha256:{SHA256}")
    monkeypatch.setitem(_cache.FILES, NAME, remote)
    with pytest.raises(OSError, match="its download failed: ") as caught:
        fetch_file(NAME)
    assert "Connection refused" in str(caught.value)


def test_no_download_when_not_wanted(server, home):
    with pytest.raises(OSError, match="download_if_missing=False") as caught:
        fetch_file(NAME, download_if_missing=False)
    assert str(home / NAME) in str(caught.value)
    assert server.asked == []
    assert not home.exists()


def test_a_damaged_file_is_refused_and_left_alone(server, home):
    path = fetch_file(NAME)
    path.write_bytes(b"edited")
    with pytest.raises(OSError, match="Delete it, and it is downloaded") as caught:
        fetch_file(NAME)
    got = hashlib.sha256(b"edited").hexdigest()
    assert f"{path} is damaged" in str(caught.value)
    assert f"sha256 is {got} instead of {SHA256}" in str(caught.value)
    assert path.read_bytes() == b"edited"
    assert len(server.asked) == 1


def test_other_checksums_than_sha256(server, home, monkeypatch):
    checksum = f"md5:{hashlib.md5(PUBLISHED).hexdigest()}"
    remote = _cache.FILES[NAME]._replace(checksum=checksum)
    monkeypatch.setitem(_cache.FILES, NAME, remote)
    path = fetch_file(NAME)
    assert fetch_file(NAME) == path
    path.write_bytes(b"edited")
    with pytest.raises(OSError, match="its md5 is"):
        fetch_file(NAME)


def test_a_read_only_folder_with_the_file_serves(server, home):
    path = home / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(PUBLISHED)
    path.chmod(0o444)
    for folder in (path.parent, home):
        folder.chmod(0o555)
    try:
        assert fetch_file(NAME) == path
        assert files_below(home) == [path]
    finally:
        for folder in (home, path.parent):
            folder.chmod(0o755)
    assert server.asked == []


def test_a_folder_that_cannot_be_written_to(server, tmp_path):
    (tmp_path / "taken").write_bytes(b"a file, so no folder")
    with pytest.raises(OSError, match="a folder that can be written to by data_home"):
        fetch_file(NAME, tmp_path / "taken")


def test_data_home_goes_before_the_environment(server, home, tmp_path):
    path = fetch_file(NAME, tmp_path / "own")
    assert path == tmp_path / "own" / NAME
    assert path.read_bytes() == PUBLISHED
    assert not home.exists()


def test_where_data_live(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("SKATTN_DATA", raising=False)
    assert get_data_home() == tmp_path / "skattn_data"
    monkeypatch.setenv("SKATTN_DATA", "")
    assert get_data_home() == tmp_path / "skattn_data"
    monkeypatch.setenv("SKATTN_DATA", "~/series")
    assert get_data_home() == tmp_path / "series"
    assert get_data_home("here") == Path("here")
    assert list(tmp_path.iterdir()) == []


def test_clearing_leaves_what_others_put_there(server, home):
    fetch_file(NAME)
    (home / "notes.txt").write_text("mine")
    clear_data_home()
    assert [path.name for path in home.rglob("*")] == ["notes.txt"]
    clear_data_home()


def test_clearing_takes_an_empty_folder_along(server, tmp_path):
    fetch_file(NAME, tmp_path / "own")
    clear_data_home(tmp_path / "own")
    assert list(tmp_path.iterdir()) == []


def test_every_registered_file_can_be_verified():
    digits = {"sha256": 64, "md5": 32}
    for name, (url, checksum) in FILES.items():
        algorithm, value = checksum.split(":")
        assert re.fullmatch(f"[0-9a-f]{{{digits[algorithm]}}}", value), name
        assert url.startswith("https://"), name
        assert url.rsplit("/", 1)[1] == name.rsplit("/", 1)[1]
    checksums = [checksum for _, checksum in FILES.values()]
    assert len(set(checksums)) == len(checksums)
